"""Routes for pages and manifests that send whoever reads them elsewhere: `/lure/{kind}/{name}?to=URL`.

Each names the target in a place of its own, and what else it needs lies on this site.
"""

from html import escape

from aiohttp import web

from tests.site.state import STATE, absolute, page

LIVE_SEC = 2

_M3U8 = "application/vnd.apple.mpegurl"
_HEAD = "#EXTM3U\n#EXT-X-VERSION:6\n"
_TIMES = "#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n"
_OWN = "#EXTINF:2.0,\n/hls/files/360p/seg0.ts\n"
_VARIANT = '#EXT-X-STREAM-INF:BANDWIDTH=520000,RESOLUTION=640x360,CODECS="avc1.42c01e,mp4a.40.2"\n'

_MANIFESTS = {
    "master": _HEAD + _VARIANT + "{to}\n",
    "audio": _HEAD
    + '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="a",DEFAULT=YES,AUTOSELECT=YES,URI="{to}"\n'
    + _VARIANT.replace("\n", ',AUDIO="a"\n')
    + "/hls/files/video-360p/index.m3u8\n",
    "segment": _HEAD + _TIMES + "#EXTINF:2.0,\n{to}\n{end}",
    "key": _HEAD + _TIMES + '#EXT-X-KEY:METHOD=AES-128,URI="{to}"\n' + _OWN + "{end}",
    "map": _HEAD + _TIMES + '#EXT-X-MAP:URI="{to}"\n' + _OWN + "{end}",
}

_PAGES = {
    "refresh": '<meta http-equiv="refresh" content="0; url={to}"><title>Gone</title>',
    "og": '<title>A page</title><meta property="og:video" content="{to}">',
    "twitter": '<title>A page</title><meta name="twitter:player:stream" content="{to}">',
    "video": '<title>A page</title><video src="{to}"></video>',
    "poster": '<title>A page</title><video poster="{to}" src="/media/small/lure.mp4"></video>',
    "jwplayer": '<title>A page</title><script>jwplayer("p").setup({{file: "{to}"}});</script>',
    "iframe": '<title>A page</title><iframe src="{to}"></iframe>',
}

_TEMPLATE = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" minBufferTime="PT2S" '
    'mediaPresentationDuration="PT10S"><Period duration="PT10S"><AdaptationSet mimeType="video/mp4">'
    '<SegmentTemplate timescale="1" duration="2" startNumber="1" '
    'initialization="{init}" media="{media}?n=$Number$"/>'
    '<Representation id="v" codecs="avc1.42c01e" width="640" height="360" bandwidth="450000"/>'
    "</AdaptationSet></Period></MPD>"
)


@page
async def manifest(request: web.Request) -> web.StreamResponse:
    """HLS; with `?live=1` without an end for two seconds, which makes yt-dlp leave it to ffmpeg."""
    is_live = request.query.get("live") and request.app[STATE].age_sec(request.path_qs) < LIVE_SEC
    end = "" if is_live else "#EXT-X-ENDLIST\n"
    text = _MANIFESTS[request.match_info["kind"]].format(to=request.query["to"], end=end)
    return web.Response(text=text, content_type=_M3U8)


@page
async def html(request: web.Request) -> web.StreamResponse:
    head = _PAGES[request.match_info["kind"]].format(to=escape(request.query["to"]))
    return web.Response(text=f"<!DOCTYPE html><html>{head}</html>", content_type="text/html")


@page
async def template(request: web.Request) -> web.StreamResponse:
    """DASH, with the target as the initialization or as the media of a template."""
    own = absolute(request, "/dash/files/init-0.mp4")
    there = {request.match_info["kind"].removeprefix("dash-"): escape(request.query["to"])}
    text = _TEMPLATE.format(**({"init": own, "media": own} | there))
    return web.Response(text=text, content_type="application/dash+xml")


ROUTES = [
    web.get(rf"/lure/{{kind:{'|'.join(_MANIFESTS)}}}/{{name}}.m3u8", manifest),
    web.get(rf"/lure/{{kind:{'|'.join(_PAGES)}}}/{{name}}.html", html),
    web.get(r"/lure/{kind:dash-init|dash-media}/{name}.mpd", template),
]
