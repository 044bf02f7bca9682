"""Routes for streams: HLS on demand, encrypted and live, and DASH.

A manifest's knobs go on to what it names, so `?rate=` slows the segments. `?only=` picks which of them.
"""

import re
from html import escape

from aiohttp import web

from tests.site.files import LANGUAGES, serve, vtt
from tests.site.knobs import handed_down, with_knobs
from tests.site.recipes import LIVE_SEGMENTS
from tests.site.state import STATE, absolute, page

_VARIANTS = {"240p": (300_000, "426x240"), "360p": (520_000, "640x360"), "720p": (1_000_000, "1280x720")}
_M3U8 = "application/vnd.apple.mpegurl"
_URI_ATTRIBUTE = re.compile(r'URI="([^"]+)"')
_MPD_FILE = re.compile(r'(initialization|media)="([^"]+)"')


def _playlist(request: web.Request, lines: list[str]) -> web.Response:
    """The playlist with the request's knobs on every URL in it."""
    knobs = handed_down(request.query)

    def knobbed(line: str) -> str:
        if not line or line.startswith("#"):
            return _URI_ATTRIBUTE.sub(lambda match: f'URI="{with_knobs(match[1], knobs)}"', line)
        return with_knobs(line, knobs)

    return web.Response(text="\n".join(map(knobbed, lines)) + "\n", content_type=_M3U8)


@page
async def master(request: web.Request) -> web.StreamResponse:
    """`/hls/master/...`: three variants with sound; `/hls/groups/...`: these silent, with an audio group."""
    grouped = request.match_info["shape"] == "groups"
    lines = ["#EXTM3U", "#EXT-X-VERSION:6", "#EXT-X-INDEPENDENT-SEGMENTS"]
    if grouped:
        kind = 'TYPE=AUDIO,GROUP-ID="sound",LANGUAGE="en",NAME="English",DEFAULT=YES,AUTOSELECT=YES'
        lines.append(f'#EXT-X-MEDIA:{kind},URI="/hls/files/audio/index.m3u8"')
    for language, name in LANGUAGES.items():
        kind = f'TYPE=SUBTITLES,GROUP-ID="subs",LANGUAGE="{language}",NAME="{name}",DEFAULT=NO,AUTOSELECT=YES'
        lines.append(f'#EXT-X-MEDIA:{kind},URI="/hls/subs/{language}.m3u8"')
    for name, (bandwidth, resolution) in _VARIANTS.items():
        shape = f"BANDWIDTH={bandwidth},RESOLUTION={resolution},FRAME-RATE=25.000"
        groups = 'SUBTITLES="subs"' + (',AUDIO="sound"' if grouped else "")
        lines.append(f'#EXT-X-STREAM-INF:{shape},CODECS="avc1.42c01e,mp4a.40.2",{groups}')
        lines.append(f"/hls/files/{'video-' if grouped else ''}{name}/index.m3u8")
    return _playlist(request, lines)


@page
async def media_playlist(request: web.Request) -> web.StreamResponse:
    """`/hls/files/{rendition}/index.m3u8`, and the encrypted one as `/hls/aes/{name}.m3u8`."""
    rendition = request.match_info.get("rendition", "aes")
    path = request.app[STATE].media.root / "hls" / rendition / "index.m3u8"
    if rendition == "live" or not path.is_file():
        raise web.HTTPNotFound
    text = path.read_text().replace('URI="key.bin"', 'URI="/hls/files/aes/key.bin"')
    return _playlist(request, re.sub(r"(?m)^(?=seg)", f"/hls/files/{rendition}/", text).splitlines())


async def hls_file(request: web.Request) -> web.StreamResponse:
    root = request.app[STATE].media.root / "hls"
    return await serve(request, root / request.match_info["rendition"] / request.match_info["file"])


@page
async def subtitle_playlist(request: web.Request) -> web.StreamResponse:
    language = request.match_info["language"]
    body = ["#EXTINF:10.0,", f"/hls/subs/{language}.vtt", "#EXT-X-ENDLIST"]
    return _playlist(request, ["#EXTM3U", "#EXT-X-TARGETDURATION:10", "#EXT-X-MEDIA-SEQUENCE:0", *body])


async def subtitle_segment(request: web.Request) -> web.StreamResponse:
    return web.Response(text=vtt(request.match_info["language"]), content_type="text/vtt")


@page
async def live(request: web.Request) -> web.StreamResponse:
    """`/live/{name}.m3u8`: a window of `?window=` one-second segments that slides by one each `?pace_ms=`.

    Time starts with the first request for this name, three segments old. `?until=` segments end it with
    ENDLIST, the last of the 120 does so in any case. `?from_start=1` shows all from the first segment on.
    """
    pace_sec = max(1, int(request.query.get("pace_ms", "1000"))) / 1000
    until = min(int(request.query.get("until", LIVE_SEGMENTS)), LIVE_SEGMENTS)
    age = request.app[STATE].age_sec(request.path)
    newest = min(until, 3 + int(age / pace_sec))
    oldest = 0 if request.query.get("from_start") else max(0, newest - int(request.query.get("window", "5")))
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{oldest}"]
    for number in range(oldest, newest):
        lines += ["#EXTINF:1.000000,", f"/hls/files/live/seg{number}.ts"]
    return _playlist(request, [*lines, *(["#EXT-X-ENDLIST"] if newest == until else [])])


@page
async def dash(request: web.Request) -> web.StreamResponse:
    """`/dash/segments/...`: SegmentTemplate; `/dash/single/...`: one whole file for each representation."""
    knobs = handed_down(request.query)
    if request.match_info["shape"] == "single":
        return _mpd(_single_mpd({name: with_knobs(f"/media/{name}/{name}.mp4", knobs) for name in _SINGLE}))

    def knobbed(match: re.Match[str]) -> str:
        return f'{match[1]}="{escape(with_knobs("/dash/files/" + match[2], knobs))}"'

    return _mpd(_MPD_FILE.sub(knobbed, (request.app[STATE].media.root / "dash" / "manifest.mpd").read_text()))


async def dash_file(request: web.Request) -> web.StreamResponse:
    return await serve(request, request.app[STATE].media.root / "dash" / request.match_info["file"])


@page
async def elsewhere(request: web.Request) -> web.StreamResponse:
    """`/hls/to/{name}.m3u8?to=URL`, `/dash/to/{name}.mpd?to=URL`: a manifest whose media lie at any URL."""
    target = absolute(request, request.query["to"])
    if request.path.endswith(".mpd"):
        return _mpd(_single_mpd(dict.fromkeys(_SINGLE, target)))
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", "#EXTINF:2.0,", target, "#EXT-X-ENDLIST"]
    return web.Response(text="\n".join(lines) + "\n", content_type=_M3U8)


_SINGLE = {
    "video-360p": ("video/mp4", "avc1.42c01e", 'width="640" height="360" frameRate="25"', 450_000),
    "video-720p": ("video/mp4", "avc1.42c01f", 'width="1280" height="720" frameRate="25"', 900_000),
    "audio": ("audio/mp4", "mp4a.40.2", 'audioSamplingRate="44100"', 48_000),
}


def _single_mpd(urls: dict[str, str]) -> str:
    def representation(name: str) -> str:
        kind, codec, shape, bandwidth = _SINGLE[name]
        about = f'id="{name}" mimeType="{kind}" codecs="{codec}" {shape} bandwidth="{bandwidth}"'
        base = f"<BaseURL>{escape(urls[name])}</BaseURL>"
        return f"<Representation {about}>{base}<SegmentBase/></Representation>"

    video = "".join(map(representation, ("video-360p", "video-720p")))
    sets = f"<AdaptationSet>{video}</AdaptationSet><AdaptationSet>{representation('audio')}</AdaptationSet>"
    about = 'xmlns="urn:mpeg:dash:schema:mpd:2011" mediaPresentationDuration="PT10.0S" minBufferTime="PT2S"'
    xml = '<?xml version="1.0" encoding="UTF-8"?>'
    return f'{xml}\n<MPD {about} type="static"><Period duration="PT10.0S">{sets}</Period></MPD>\n'


def _mpd(text: str) -> web.Response:
    return web.Response(text=text, content_type="application/dash+xml")


ROUTES = [
    web.get(r"/hls/{shape:master|groups}/{name}.m3u8", master),
    web.get("/hls/aes/{name}.m3u8", media_playlist),
    web.get("/hls/to/{name}.m3u8", elsewhere),
    web.get("/hls/files/{rendition}/index.m3u8", media_playlist),
    web.get(r"/hls/files/{rendition:[\w-]+}/{file:\w+\.(?:ts|bin)}", hls_file),
    web.get(r"/hls/subs/{language:en|de}.m3u8", subtitle_playlist),
    web.get(r"/hls/subs/{language:en|de}.vtt", subtitle_segment),
    web.get("/live/{name}.m3u8", live, name="live"),
    web.get(r"/dash/{shape:segments|single}/{name}.mpd", dash),
    web.get("/dash/to/{name}.mpd", elsewhere),
    web.get(r"/dash/files/{file:[\w.-]+\.(?:mp4|m4s)}", dash_file),
]
