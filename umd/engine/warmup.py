"""Makes a `Loader` that has already worked, so that a child forked from it begins where others arrive.

What is slow the first time is done here once: yt-dlp's import, 1,700 compiled URL patterns, the TLS
contexts, the modules behind the common ways to extract and to download. Nothing of it changes a result;
what fails is left for the child to do.
"""

import contextlib
import os
import re
import signal
import socket
import tempfile
from collections.abc import Iterator
from typing import Any

from umd.engine import linux, params
from umd.engine.config import EngineConfig

ORIGIN_SEC_MAX = 60
"""The origin ends by itself, should the zygote be killed in the very moment in which it is made."""

_INVALID = "https://warm-up.invalid/watch/1"
_FIRST = ("Generic", "HTML5MediaEmbed", "Youtube")
_SEGMENT = b"\x47" + bytes(187)
_PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n0.ts\n#EXTINF:1,\n1.ts\n#EXT-X-ENDLIST\n"
_PAGE = (
    b"<!DOCTYPE html><html><head><title>Warm</title>"
    b'<meta property="og:title" content="Warm"></head><body><video src="/media.mp4"></video></body></html>'
)
_DATA_PAGE = (
    b'<!DOCTYPE html><html><head><title>Warm</title><script type="application/ld+json">'
    b'{"@context": "https://schema.org", "@type": "VideoObject", "name": "Warm", "duration": "PT1S", '
    b'"uploadDate": "2026-01-02T03:04:05Z", "contentUrl": "http://HOST/media.mp4"}</script></head></html>'
)
_HEAD = (
    "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {}\r\n"
    "Last-Modified: Fri, 02 Jan 2026 03:04:05 GMT\r\nConnection: close\r\n\r\n"
)
_PATHS = ("page.html", "page.htm", "list.m3u8")
_FILES = {
    ".mp4": ("video/mp4", bytes(1_000)),
    ".m3u8": ("application/vnd.apple.mpegurl", _PLAYLIST),
    ".ts": ("video/mp2t", _SEGMENT),
    ".html": ("text/html", _PAGE),
    ".htm": ("text/html", _DATA_PAGE),
}


def warm_loader(config: EngineConfig, origin: str) -> Any:
    """The object to fork from: with no open connection, and no trace of the warm-up."""
    from umd.engine.loader import Loader

    loader = Loader(config)
    for warm in (_match_all_patterns, Loader.sift, _load_extractors, _build_selectors, _probe_ffmpeg):
        with contextlib.suppress(Exception):  # best effort, see above
            warm(loader)
    # The extractors hold on to their patterns; the small cache is wanted for those of the work itself.
    re.purge()
    _rehearse(config, loader, origin)
    return loader


@contextlib.contextmanager
def origin() -> Iterator[str]:
    """A web server on loopback in a process of its own: the caller must not have a second thread.

    It dies with the caller: it holds the caller's descriptors, whose end has to say that the caller is dead.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        pid = os.fork()
        if pid == 0:
            try:
                signal.alarm(ORIGIN_SEC_MAX)
                linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
                while True:
                    _answer(listener.accept()[0])
            finally:
                os._exit(1)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _answer(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        request = b""
        while b"\r\n\r\n" not in request:
            request += connection.recv(65_536)
        path = request.split(b" ", 2)[1].decode("latin-1").partition("?")[0]
        host = request.partition(b"Host: ")[2].partition(b"\r\n")[0]
        kind, body = _FILES.get(os.path.splitext(path)[1], ("text/plain", b""))
        body = body.replace(b"HOST", host)
        connection.sendall(_HEAD.format(kind, len(body)).encode() + body)


def _match_all_patterns(loader: Any) -> None:
    for extractor in loader._ies.values():
        extractor.suitable(_INVALID)


def _load_extractors(loader: Any) -> None:
    for key in _FIRST:
        loader.get_info_extractor(key)


def _build_selectors(loader: Any) -> None:
    for words in (params.AUDIO_FORMAT, params.VIDEO_FORMAT):
        loader.selector(words)


def _probe_ffmpeg(loader: Any) -> None:
    """yt-dlp runs both programs to learn their versions, once in a process."""
    from yt_dlp.postprocessor.ffmpeg import FFmpegPostProcessor

    probe = FFmpegPostProcessor(loader)
    _ = probe.available, probe.probe_available


def _rehearse(config: EngineConfig, loader: Any, address: str) -> None:
    """Download for nothing, then put the object back into the state of a new one.

    Another object takes the more elaborate ways: it fills the caches of modules and classes, and is
    thrown away with the state that it has gathered.
    """
    from umd.engine.loader import Loader

    where = os.getcwd()
    with tempfile.TemporaryDirectory(prefix="warm-up-", dir=config.scratch) as folder:
        os.chdir(folder)
        try:
            other = Loader(config, fixup="never")
            for one, path in (*((other, path) for path in _PATHS), (loader, "media.mp4")):
                with contextlib.suppress(Exception):  # best effort, see above
                    one.go_through(address)  # the origin takes requests as a proxy does, too
                    one.extract_info(f"{address}/{path}")
            other.close()
        finally:
            os.chdir(where)
            loader.go_through("")
            loader.forget_work()
