# Needs make, git and Python 3.11 or later; everything else goes into .venv, from wheels with known hashes.
# Keep to GNU make 3.81 and POSIX sh: that is what macOS has.

# Two pips at work in one environment would trip over each other.
.NOTPARALLEL:

VENV := .venv
PY := $(VENV)/bin/python
# Wheels only: a bare machine has no compiler, and nothing foreign runs while installing. The lock files name
# everything, so there is nothing to resolve: older pips would look for newer releases of what has extras.
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all:

# A virtual environment whose Python has gone, by an upgrade of the system, is made anew.
$(shell [ -x $(PY) ] || rm -f $(VENV)/.stamp-*)

RUN := $(VENV)/.stamp-run
DEV := $(VENV)/.stamp-dev
ifeq ($(shell command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null && echo both),)
FFMPEG := $(VENV)/.stamp-ffmpeg
endif

.PHONY: help install run test check format bench soak lock clean image-check release-check

help: ## Show the targets (the default)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile
	@echo "PYTHON=python3.12 chooses the Python of a new .venv, ARGS=... is passed on to run, test, soak, bench and lock."

install: $(RUN) $(FFMPEG) ## Set up what running needs

run: install ## Start the service on 127.0.0.1:8080 (UMD_HOST, UMD_PORT)
	@exec $(PY) -m umd serve $(ARGS)

# Two tests at a time on two cores: most wait for processes and sockets. Files stay whole, and in their order:
# what one file shares is made once, and the long ones do not come last.
test: $(DEV) $(FFMPEG) ## Run all tests, with coverage
	$(PY) -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder \
		--cov=umd --cov-report=term --cov-fail-under=90 $(ARGS)

check: $(DEV) ## Check format, lint, types and the layer table
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy --strict
	$(PY) -m pytest --quiet tests/test_layers.py

format: $(DEV) ## Format the code and mend what the linter can
	$(PY) -m ruff check --fix-only --quiet .
	$(PY) -m ruff format .

bench: $(DEV) $(FFMPEG) ## Measure
	$(PY) -m scripts.bench $(ARGS)

soak: $(DEV) $(FFMPEG) ## Run the tests that take minutes or an hour (SOAK_MINUTES of steady load: 20)
	$(PY) -m pytest -m soak -o faulthandler_timeout=7200 $(ARGS)

# Needs root, buildah and mmdebstrap. Exit code 77 says that it was skipped: that is no pass.
image-check: ## Build the image and start it, without a container engine
	deploy/image-check

release-check: check test ## What has to hold before a release: all checks, the version, the lock, the image
	$(PY) scripts/release_check.py
	$(MAKE) image-check

# UV=uv takes another uv than the locked one; ARGS=--upgrade moves everything to its newest version.
UV = $(PY) -m uv
COMPILE = $(UV) pip compile --quiet --universal --generate-hashes --only-binary :all: \
	--no-emit-index-url --no-header --system-certs $(ARGS)

lock: $(DEV) ## Compile the lock files from pyproject.toml
	$(COMPILE) pyproject.toml -o requirements.lock
	$(COMPILE) pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock
	$(COMPILE) --group ffmpeg -o requirements-ffmpeg.lock

clean: ## Remove .venv, caches and build files; data/ stays
	rm -rf $(VENV) .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .schemathesis build dist htmlcov
	find umd tests scripts -name __pycache__ -prune -exec rm -rf {} +

# Each stamp is newer than the lock file that was installed last.
$(VENV)/.stamp-venv:
	@python=$$(scripts/find-python $(PYTHON)) && set -x && "$$python" -m venv --clear $(VENV)
	@touch $@

$(RUN): requirements.lock | $(VENV)/.stamp-venv
	$(PIP) -r $<
	@touch $@

$(DEV): requirements-dev.lock | $(VENV)/.stamp-venv
	$(PIP) -r $<
	@touch $@

$(VENV)/.stamp-ffmpeg: requirements-ffmpeg.lock | $(VENV)/.stamp-venv
	$(PIP) -r $<
	@touch $@
