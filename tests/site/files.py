"""Routes for plain files: the clips under fresh names, subtitles, thumbnails."""

from pathlib import Path

from aiohttp import web

from tests.site.delivery import deliver
from tests.site.knobs import NAMES
from tests.site.media import view
from tests.site.state import STATE

CONTENT_TYPES = {
    ".mp4": "video/mp4",
    ".m4a": "audio/mp4",
    ".m4s": "video/iso.segment",
    ".webm": "video/webm",
    ".mp3": "audio/mpeg",
    ".ts": "video/mp2t",
    ".bin": "application/octet-stream",
    ".jpg": "image/jpeg",
    ".png": "image/png",
}
LANGUAGES = {"en": "English", "de": "Deutsch"}
CUES = 10


async def serve(request: web.Request, path: Path | None) -> web.StreamResponse:
    """Deliver one file of the cache. A misspelt knob is an error, lest a test prove nothing."""
    if unknown := set(request.query) - NAMES:
        raise web.HTTPBadRequest(text=f"unknown knobs: {', '.join(sorted(unknown))}\n")
    if path is None:
        raise web.HTTPNotFound
    try:
        data = view(path)
    except FileNotFoundError:
        raise web.HTTPNotFound from None
    content_type = "audio/webm" if path.name == "audio.webm" else CONTENT_TYPES[path.suffix]
    return await deliver(request, data, content_type, path.stem)


async def clip(request: web.Request) -> web.StreamResponse:
    """`/media/{kind}/{name}`: any name, so that each test can have a fresh one."""
    return await serve(request, request.app[STATE].media.of_kind(request.match_info["kind"]))


async def numbered(request: web.Request) -> web.StreamResponse:
    """`/media/n/{0..39}.mp4`, or `/media/n/{0..39}/{name}.mp4`."""
    return await serve(request, request.app[STATE].media.numbered(int(request.match_info["index"])))


async def thumbnail(request: web.Request) -> web.StreamResponse:
    """`/thumb/{small,large}.{jpg,png}`, or `/thumb/{name}/...` of the same."""
    return await serve(request, request.app[STATE].media.root / "images" / request.match_info["file"])


async def subtitles(request: web.Request) -> web.StreamResponse:
    """`/subs/{name}/{en,de}.vtt`; with `auto-` before the language what a speech recogniser would write."""
    language = request.match_info["language"]
    if language.removeprefix("auto-") not in LANGUAGES:
        raise web.HTTPNotFound
    return await deliver(request, memoryview(vtt(language).encode()), "text/vtt; charset=utf-8", language)


def vtt(language: str) -> str:
    """WebVTT, one cue for each second of a clip."""
    words = {"en": "Line {} of the picture – “quoted”", "de": "Zeile {} des Bildes – „schön“"}
    text = words.get(language, "line {} as heard by a machine")
    cues = (f"00:00:{at:02d}.000 --> 00:00:{at:02d}.900\n{text.format(at + 1)}\n" for at in range(CUES))
    return "WEBVTT\n\n" + "\n".join(cues)


ROUTES = [
    web.get(r"/media/n/{index:\d+}.mp4", numbered),
    web.get(r"/media/n/{index:\d+}/{name}", numbered),
    web.get("/media/{kind}/{name}", clip),
    web.get(r"/thumb/{file:\w+\.(?:jpg|png)}", thumbnail),
    web.get(r"/thumb/{name}/{file:\w+\.(?:jpg|png)}", thumbnail),
    web.get(r"/subs/{name}/{language}.vtt", subtitles),
]
