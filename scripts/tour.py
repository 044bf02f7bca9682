"""A tour of umd's eighteen endpoints on a running service: prints each request and its answer.

It needs nothing but Python. The media come from the site that `scripts/media_site.py` runs, where the service
has to be allowed to go:

    python scripts/media_site.py &
    UMD_ALLOW_ADDRESSES=127.0.0.0/8 make run
    python scripts/tour.py

The exit status is 1 where an answer was not what it should be; what a server lacks is named at the end.
"""

import argparse
import json
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlencode

WAIT_SEC = 120
LINES_MAX = 24
SHOWN_HEADERS = ("Location", "Age", "Retry-After", "Content-Type")
SLOW = "rate=50000"
COOKIES = "# Netscape HTTP Cookie File\n.example.com\tTRUE\t/\tTRUE\t4102444800\tsession\topen-sesame\n"

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Past any proxy that the environment names: the service is one's own."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: str

    @property
    def json(self) -> Any:  # noqa: ANN401  # whatever it is
        try:
            return json.loads(self.body)
        except ValueError:
            return {}


class Tour:
    """Walks from stop to stop, and remembers how each went."""

    def __init__(self, base: str, key: str | None, site: str) -> None:
        self._base = base.rstrip("/") + "/api/v1"
        self._headers = {"X-API-Key": key} if key else {}
        self._site = site.rstrip("/")
        self._name = uuid.uuid4().hex[:8]
        """Makes this tour's media its own: what an earlier one downloaded would be skipped."""
        self._number = 0
        self.missing: list[str] = []
        self.wrong: list[str] = []

    def walk(self) -> None:
        """All of it, in an order that tells a story."""
        self._look_around()
        self._download()
        self._look_before_downloading()
        self._download_many()
        self._keep_cookies()
        print(
            f"\n{self._number} endpoints: {self._number - len(self.missing) - len(self.wrong)} answered",
            end="",
        )
        print(f", {len(self.missing)} missing, {len(self.wrong)} wrong")
        for kind, names in (("missing", self.missing), ("wrong", self.wrong)):
            for name in names:
                print(f"  {kind}: {name}")

    def _look_around(self) -> None:
        self._stop("How the service is", "GET /health")
        self._stop("Its numbers", "GET /stats")
        self._stop("The same for Prometheus", "GET /metrics")

    def _download(self) -> None:
        done = self._stop("Download a file", "POST /download", {"url": self._media("one")}, expect=(202,))
        job = done.get("request_id", "none")
        self._follow("download", job)
        self._stop("What came of it", "GET /download/{id}", id=job)
        self._stop("What yt-dlp said", "GET /download/{id}/logs", id=job)
        slow = self._quietly("POST", "/download", {"url": self._media("slow", "50mb", SLOW)})
        self._stop("Cancel a slow one", "DELETE /download/{id}", id=slow.get("request_id", "none"))

    def _look_before_downloading(self) -> None:
        stream = f"{self._site}/hls/master/{self._name}.m3u8"
        self._stop("The formats of a stream", "GET /formats", query={"url": stream})
        self._stop("All that is known of it", "GET /metadata", query={"url": stream})
        about = {"url": self._feed("podcast", 45), "page": 2, "page_size": 3}
        self._stop("A page of a playlist", "GET /playlist/preview", query=about)
        channel = {"url": self._feed("podcast", 45), "sort_by": "title", "sort_order": "asc", "page_size": 3}
        self._stop("A page of a channel, sorted", "GET /channel/info", query=channel)

    def _download_many(self) -> None:
        playlist = {"url": self._feed("playlist", 5), "items": "1-2,-1"}
        self._whole("Download some of a playlist", "/playlist/download", playlist)
        channel = {"url": self._feed("channel", 5), "sort_by": "title", "max_downloads": 2}
        self._whole("Download a channel's first two by title", "/channel/download", channel)
        urls = [self._media(f"many-{number}", "50mb", SLOW) for number in range(3)]
        batch = self._stop("Download several", "POST /batch/download", {"urls": urls}, expect=(202,))
        named = batch.get("batch_id", "none")
        self._stop("How they are", "GET /batch/{id}", id=named)
        self._stop("Cancel them", "DELETE /batch/{id}", id=named)

    def _keep_cookies(self) -> None:
        jar = {"name": f"tour-{self._name}", "cookies": COOKIES}
        # 503: the operator has given no key to seal jars with (UMD_COOKIE_KEY).
        kept = self._stop("Keep a cookie jar", "POST /auth/cookies", jar, expect=(201, 503))
        named, known = kept.get("cookie_id", "0" * 26), "cookie_id" in kept
        expect = (200,) if known else (404, 503)
        self._stop("Forget it", "DELETE /auth/cookies/{id}", id=named, expect=expect)

    def _whole(self, title: str, path: str, body: dict[str, Any]) -> None:
        batch = self._stop(title, f"POST {path}", body, expect=(202,))
        self._follow("batch", batch.get("batch_id", "none"))

    def _media(self, name: str, kind: str = "small", knobs: str = "") -> str:
        return f"{self._site}/media/{kind}/{self._name}-{name}.mp4" + (f"?{knobs}" if knobs else "")

    def _feed(self, name: str, count: int) -> str:
        return f"{self._site}/feed/{self._name}-{name}.rss?n={count}"

    def _stop(
        self,
        title: str,
        what: str,
        body: dict[str, Any] | None = None,
        *,
        query: dict[str, Any] | None = None,
        id: str = "",  # noqa: A002  # the word of the route
        expect: tuple[int, ...] = (200,),
    ) -> dict[str, Any]:
        """One endpoint: ask, show, and judge. Returns the JSON that came, or nothing."""
        self._number += 1
        method, path = what.split()
        place = path.replace("{id}", id) + (f"?{urlencode(query)}" if query else "")
        print(f"\n{self._number}. {title}\n{method} /api/v1{place}")
        if body is not None:
            _show(json.dumps(body, indent=2), "> ")
        answer = self._ask(method, place, body, lambda line: print(f"< {line}"))
        _show(_pretty(answer), "< ")
        if answer.json.get("code") in ("not_found", "method_not_allowed"):
            self.missing.append(what)
            print("This server does not have it.")
            return {}
        if answer.status not in expect:
            self.wrong.append(f"{what}: {answer.status}, expected {expect[0]}")
            return {}
        return dict(answer.json)

    def _quietly(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Something that is needed for the next stop."""
        return dict(self._ask(method, path, body).json)

    def _follow(self, kind: str, named: str) -> None:
        """Wait, on its event stream, for the end of a job or a batch."""
        if named == "none":
            return
        request = urllib.request.Request(f"{self._base}/{kind}/{named}/events", headers=self._headers)
        with _direct.open(request, timeout=WAIT_SEC) as stream:
            types = [line[7:].decode().strip() for line in stream if line.startswith(b"event: ")]
        print(f"… and its events: {', '.join(dict.fromkeys(types))}")

    def _ask(
        self,
        method: str,
        place: str,
        body: dict[str, Any] | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        headers = self._headers | ({"Content-Type": "application/json"} if data else {})
        request = urllib.request.Request(self._base + place, data, headers, method=method)
        try:
            answer = _direct.open(request, timeout=WAIT_SEC)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            tell(f"{answer.status} {answer.reason}")
            for name in SHOWN_HEADERS:
                if name in answer.headers:
                    tell(f"{name}: {answer.headers[name]}")
            return Answer(answer.status, answer.read().decode())


def _pretty(answer: Answer) -> str:
    return json.dumps(answer.json, indent=2, ensure_ascii=False) if answer.json else answer.body


def _show(text: str, before: str) -> None:
    lines = text.splitlines()
    for line in lines[:LINES_MAX]:
        print(before + line)
    if len(lines) > LINES_MAX:
        print(f"{before}… {len(lines) - LINES_MAX} more lines")


def main() -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", default="http://127.0.0.1:8080", help="the service (default: %(default)s)")
    parser.add_argument("--key", help="an API key, where the service wants one")
    parser.add_argument(
        "--site", default="http://127.0.0.1:8099", help="the media site (default: %(default)s)"
    )
    arguments = parser.parse_args()
    tour = Tour(arguments.base, arguments.key, arguments.site)
    try:
        tour.walk()
    except urllib.error.URLError as error:
        print(f"{arguments.base} cannot be reached: {error.reason}", file=sys.stderr)
        return 1
    return 1 if tour.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
