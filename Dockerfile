# Two stages: the first installs what is locked, the second has what running needs and nothing to build with.
FROM python:3.11-slim-bookworm AS build
RUN python3 -m venv /opt/umd
COPY requirements.lock /src/
# Everything is named with its hash, and comes as a wheel: nothing is resolved, nothing foreign runs.
RUN /opt/umd/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes \
      --only-binary=:all: -r /src/requirements.lock
COPY umd /app/umd
RUN /opt/umd/bin/python -m compileall -q /app/umd

FROM python:3.11-slim-bookworm
# ffmpeg is Debian's, so that a rebuild brings its security updates: no version is pinned.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ffmpeg tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 umd \
    && useradd --uid 10001 --gid umd --home-dir /app --no-create-home umd \
    && install -d -o umd -g umd /app /app/data
COPY --from=build /opt/umd /opt/umd
COPY --from=build /app/umd /app/umd
COPY --chmod=0755 deploy/entrypoint /usr/local/bin/umd-entrypoint
ENV PATH=/opt/umd/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    UMD_HOST=0.0.0.0 \
    UMD_LOG_FORMAT=json
WORKDIR /app
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 CMD ["python", "-m", "umd", "health"]
# tini reaps what is orphaned. The signal goes to umd alone, which ends its workers itself.
ENTRYPOINT ["/usr/bin/tini", "--", "umd-entrypoint"]
CMD ["python", "-m", "umd", "serve"]
