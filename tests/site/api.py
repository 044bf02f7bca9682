"""Routes of the made-up video site: pages that a browser would see, and the JSON that its plugin reads."""

import json
import time

from aiohttp import web

from tests.site.catalog import Json, Place, comments, listing, segments, video
from tests.site.state import STATE, absolute, page

SESSION_COOKIE = ("umd_session", "open-sesame")
GATED = frozenset({"cookie", "login", "private", "age", "members"})
"""Kinds that a visitor sees only with the session cookie."""
REFUSED = frozenset({"geo", "drm", "removed", "botcheck", "notlive", "throttled", "noformats", "bug"})
"""Kinds that nobody sees; the plugin has the words for each."""
STATUSES = {
    "notfound": 404,
    "gone": 410,
    "forbidden": 403,
    "ratelimited": 429,
    "legal": 451,
    "broken": 500,
    "down": 503,
}
UPCOMING_SEC = 1800.0


def session_jar() -> str:
    """A jar in Netscape's format with the session cookie for a site on loopback."""
    line = "\t".join(("127.0.0.1", "FALSE", "/", "FALSE", "0", *SESSION_COOKIE))
    return f"# Netscape HTTP Cookie File\n{line}\n"


def _place(request: web.Request) -> Place:
    return Place(lambda path: absolute(request, path), request.query, request.app[STATE].media)


def _is_signed_in(request: web.Request) -> bool:
    name, value = SESSION_COOKIE
    return request.cookies.get(name) == value


@page
async def one(request: web.Request) -> web.StreamResponse:
    """`/site/api/{kind}/{name}`: a video as JSON, or why there is none."""
    kind, name = request.match_info["kind"], request.match_info["name"]
    if kind in STATUSES:
        headers = {"Retry-After": request.query.get("retry_after", "7")} if kind == "ratelimited" else {}
        return web.Response(status=STATUSES[kind], headers=headers, text="Not for you.\n")
    if kind == "hang":
        await request.app[STATE].gates.wait(request.query.get("gate"))
    if kind in REFUSED or (kind in GATED and not _is_signed_in(request)):
        return web.json_response({"refused": kind})
    return web.json_response(_with_air_time(request, kind, name, video(name, _place(request))))


def _with_air_time(request: web.Request, kind: str, name: str, info: Json) -> Json:
    """A premiere has no formats before its time; a live stream has a playlist instead of files."""
    if kind == "live":
        about = {key: value for key, value in request.query.items() if key in ("pace_ms", "until", "window")}
        path = request.app.router["live"].url_for(name=name)
        url = absolute(request, str(path.with_query(about)))
        from_start = absolute(request, str(path.with_query({**about, "from_start": "1"})))
        urls = {"live_url": url, "from_start_url": from_start}
        return {**info, **urls, "formats": [], "duration": None, "is_live": True}
    if kind == "upcoming":
        left = float(request.query.get("opens_in", UPCOMING_SEC)) - request.app[STATE].age_sec(request.path)
        if left > 0:
            about_time = {"live_status": "is_upcoming", "release_timestamp": int(time.time() + left) + 1}
            return {**info, **about_time, "formats": [], "refused": "upcoming", "opens_in_sec": left}
    return info


@page
async def many(request: web.Request) -> web.StreamResponse:
    if "gated" in request.query and not _is_signed_in(request):
        return web.json_response({"refused": "cookie"})
    return web.json_response(listing(request.match_info["name"], _place(request)))


@page
async def discussion(request: web.Request) -> web.StreamResponse:
    return web.json_response(comments(min(int(request.query.get("comments", "3")), 10_000)))


@page
async def sponsorblock(request: web.Request) -> web.StreamResponse:
    """`/sponsorblock/{name}` is the address of a SponsorBlock API that knows this one video."""
    return web.json_response(segments(request.match_info["name"], json.loads(request.query["categories"])))


async def human(request: web.Request) -> web.StreamResponse:
    """What a browser, or yt-dlp without the plugin, gets at `/site/...`: a page without media."""
    text = "<!DOCTYPE html>\n<html lang='en'><title>umd site</title><p>Needs the yt-dlp plugin.</p></html>\n"
    return web.Response(text=text, content_type="text/html")


ROUTES = [
    web.get(r"/site/api/{kind:channel|playlist}/{name}", many),
    web.get("/site/api/comments/{name}", discussion),
    web.get("/site/api/{kind}/{name}", one),
    web.get("/sponsorblock/{name}/api/skipSegments/{prefix}", sponsorblock),
    web.get("/site/{tail:.*}", human),
]
