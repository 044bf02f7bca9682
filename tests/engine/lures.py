"""The ways to an inner address that are tried: how it is spelled, and what names it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote


class Lure(NamedTuple):
    """`path` is what is asked for: a path of the site, or a whole URL. `{to}` is the canary's URL.

    `follows` is whether plain yt-dlp gets there; `fails` whether nothing can come of it once it is refused.
    """

    name: str
    path: str
    options: Mapping[str, Any] = MappingProxyType({})
    follows: bool = True
    fails: bool = True

    def at(self, address: str, port: int) -> str:
        """The lure to a canary."""
        host = f"[{address}]" if ":" in address else address
        to = f"http://{host}:{port}/inner/{self.name}.mp4"
        return self.path.format(to=to, quoted=quote(to, safe=""), host=host, port=port)


def _spelled(name: str, host: str, *, follows: bool = True) -> Lure:
    return Lure(name, f"http://{host}:{{port}}/inner/{name}.mp4", follows=follows)


# Spellings of 127.0.0.2.
SPELLINGS = (
    _spelled("dotted", "127.0.0.2"),
    _spelled("decimal", "2130706434"),
    _spelled("hexadecimal", "0x7f000002"),
    _spelled("hexadecimal-parts", "0x7f.0x0.0x0.0x2"),
    _spelled("octal", "0177.0.0.2"),
    _spelled("octal-whole", "017700000002"),
    _spelled("short", "127.2"),
    _spelled("three-parts", "127.0.2"),
    _spelled("padded", "127.000.000.002"),
    _spelled("full-width", "１２７.０.０.２"),
    _spelled("ideographic-dots", "127。0。0。2"),
    _spelled("half-width-dots", "127｡0｡0｡2"),
    _spelled("circled", "①②⑦.⓪.⓪.②"),
    _spelled("percent", "%31%32%37.0.0.2", follows=False),
    _spelled("final-dot", "127.0.0.2.", follows=False),
    _spelled("mapped", "[::ffff:127.0.0.2]"),
    _spelled("mapped-hex", "[::ffff:7f00:2]"),
    _spelled("mapped-long", "[0:0:0:0:0:ffff:7f00:0002]"),
    _spelled("compatible", "[::127.0.0.2]", follows=False),
    _spelled("6to4", "[2002:7f00:2::1]", follows=False),
    _spelled("teredo", "[2001:0:7f00:2::80ff:fffd]", follows=False),
    _spelled("nat64", "[64:ff9b::7f00:2]", follows=False),
    _spelled("nat64-local", "[64:ff9b:1::7f00:2]", follows=False),
)

SIX = (
    _spelled("loopback", "[::1]"),
    _spelled("loopback-long", "[0:0:0:0:0:0:0:1]"),
    Lure("loopback-zone", "http://[::1%25lo]:{port}/x.mp4", follows=False, fails=False),
)
"""Spellings of ::1."""

WAYS = (
    Lure("redirect", "/redirect/a?to={quoted}"),
    Lure("redirect-307", "/redirect/b?to={quoted}&code=307"),
    Lure("redirect-308", "/redirect/c?to={quoted}&code=308"),
    Lure("redirect-chain", "/redirect/d?to={quoted}&hops=3"),
    Lure("refresh", "/lure/refresh/x.html?to={quoted}"),
    Lure("hls-master", "/lure/master/x.m3u8?to={quoted}"),
    Lure("hls-audio", "/lure/audio/x.m3u8?to={quoted}"),
    Lure("hls-segment", "/lure/segment/x.m3u8?to={quoted}"),
    Lure("hls-key", "/lure/key/x.m3u8?to={quoted}"),
    Lure("hls-map", "/lure/map/x.m3u8?to={quoted}"),
    Lure("hls-redirected-segment", "/hls/to/x.m3u8?to=%2Fredirect%2Fe%3Fto%3D{quoted}"),
    Lure("ffmpeg-segment", "/lure/segment/l.m3u8?live=1&to={quoted}"),
    Lure("ffmpeg-key", "/lure/key/l.m3u8?live=1&to={quoted}"),
    Lure("ffmpeg-map", "/lure/map/l.m3u8?live=1&to={quoted}"),
    Lure("dash-base", "/dash/to/x.mpd?to={quoted}"),
    Lure("dash-template", "/lure/dash-media/x.mpd?to={quoted}"),
    Lure("dash-initialization", "/lure/dash-init/x.mpd?to={quoted}"),
    Lure("rss", "/feed/x.rss?n=1&to={quoted}"),
    Lure("json-ld", "/page/jsonld/x.html?media={quoted}"),
    Lure("html5", "/lure/video/x.html?to={quoted}"),
    Lure("og-video", "/lure/og/x.html?to={quoted}"),
    Lure("twitter-player", "/lure/twitter/x.html?to={quoted}"),
    Lure("jwplayer", "/lure/jwplayer/x.html?to={quoted}"),
    Lure("iframe", "/lure/iframe/x.html?to={quoted}", follows=False, fails=False),
    Lure("poster", "/lure/poster/x.html?to={quoted}", fails=False),
    Lure("format", "/site/video/x?formats=bare&media={quoted}"),
    Lure(
        "thumbnail", "/site/video/t?formats=combined&thumb={quoted}", {"write_thumbnail": True}, fails=False
    ),
    Lure(
        "subtitle",
        "/site/video/s?formats=combined&subs={quoted}",
        {"download_subtitles": True, "subtitle_languages": ("en",)},
        fails=False,
    ),
    Lure("impersonated", "/site/impersonated/x?to={quoted}"),
    Lure("impersonated-redirect", "/site/impersonated/y?to={{site}}/redirect/f%3Fto%3D{quoted}"),
)
"""What names the canary's URL, or leads to it."""

SCHEMES = (
    Lure("ftp", "/site/video/p1?formats=bare&media=ftp://{host}:{port}/x.mp4"),
    Lure("ws", "/site/video/p2?formats=bare&media=ws://{host}:{port}/x.mp4", follows=False),
    Lure("rtmp", "/site/video/p3?formats=bare&media=rtmp://{host}:{port}/live/x", follows=False),
    Lure("rtsp", "/site/video/p4?formats=bare&media=rtsp://{host}:{port}/x", follows=False),
    Lure("mms", "/site/video/p5?formats=bare&media=mms://{host}:{port}/x", follows=False),
    Lure("tcp-segment", "/lure/segment/t.m3u8?live=1&to=tcp://{host}:{port}", follows=False),
    Lure("udp-segment", "/lure/segment/u.m3u8?live=1&to=udp://{host}:{port}", follows=False),
    Lure("rtp-segment", "/lure/segment/r.m3u8?live=1&to=rtp://{host}:{port}", follows=False),
    Lure("file-format", "/site/video/p6?formats=bare&media=file:///etc/passwd", follows=False),
    Lure("data-format", "/site/video/p7?formats=bare&media=data:text/plain,x", follows=False, fails=False),
    Lure("file-segment", "/lure/segment/f.m3u8?to=file:///etc/passwd", follows=False),
    Lure("file-segment-ffmpeg", "/lure/segment/g.m3u8?live=1&to=file:///etc/passwd", follows=False),
)
"""Other protocols."""
