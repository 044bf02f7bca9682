"""Routes for pages: HTML with and without media, a feed, text, redirects, bare statuses, odd headers."""

import json
from html import escape

from aiohttp import web

from tests.site.knobs import NAMES, handed_down, with_knobs
from tests.site.state import absolute, page


def _html(body: str, head: str = "") -> web.Response:
    top = '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    return web.Response(text=f"{top}{head}</head><body>{body}</body></html>\n", content_type="text/html")


def _video_url(request: web.Request, kind: str = "small") -> str:
    """The page's clip with the page's knobs, or wherever `?media=` points."""
    if media := request.query.get("media"):
        return absolute(request, media)
    path = f"/media/{kind}/{request.match_info['name']}.mp4"
    return absolute(request, with_knobs(path, handed_down(request.query)))


@page
async def html5(request: web.Request) -> web.StreamResponse:
    """A player as hand-written pages have it: two sources, two tracks, a poster."""
    title = request.query.get("title", "An HTML5 page")
    head = f'<title>{escape(title)}</title><meta property="og:description" content="What the page says">'
    tracks = "".join(
        f'<track kind="subtitles" srclang="{language}" label="{label}" src="/subs/html5/{language}.vtt">'
        for language, label in (("en", "English"), ("de", "Deutsch"))
    )
    source = f'<source src="{escape(_video_url(request))}" type="video/mp4">'
    stream = '<source src="/hls/master/html5.m3u8" type="application/x-mpegURL">'
    if request.query.get("media"):
        stream = ""
    return _html(f'<video poster="/thumb/large.jpg" controls>{source}{stream}{tracks}</video>', head)


@page
async def jsonld(request: web.Request) -> web.StreamResponse:
    """A VideoObject; `title`, `description`, `uploader` and `media` come from the query, however hostile."""
    query = request.query
    video: dict[str, object] = {
        "@context": "https://schema.org",
        "@type": "VideoObject",
        "name": query.get("title", "A JSON-LD video"),
        "description": query.get("description", "Described by schema.org"),
        "thumbnailUrl": [absolute(request, "/thumb/large.jpg")],
        "uploadDate": "2026-03-04T05:06:07Z",
        "duration": "PT10S",
        "contentUrl": _video_url(request, "360p"),
        "author": {"@type": "Person", "name": query.get("uploader", "Ada Author")},
        "interactionStatistic": {
            "@type": "InteractionCounter",
            "interactionType": {"@type": "WatchAction"},
            "userInteractionCount": 4321,
        },
        "keywords": ["test", "pattern"],
        "hasPart": [
            {"@type": "Clip", "name": "Beginning", "startOffset": 0, "endOffset": 5},
            {"@type": "Clip", "name": "End", "startOffset": 5, "endOffset": 10},
        ],
    }
    # JSON inside a script element must not be able to end it.
    data = json.dumps(video).replace("<", "\\u003c")
    head = f'<title>A page</title><script type="application/ld+json">{data}</script>'
    return _html("<p>Nothing to see but data.</p>", head)


@page
async def empty(request: web.Request) -> web.StreamResponse:
    return _html("<p>No media here, nor any link to some.</p>", "<title>An empty page</title>")


@page
async def feed(request: web.Request) -> web.StreamResponse:
    """RSS with `?n=` enclosures (5), small clips under names that belong to this feed alone."""
    name = request.match_info["name"]

    def item(number: int) -> str:
        path = with_knobs(f"/media/small/{name}-{number}.mp4", handed_down(request.query))
        url = escape(absolute(request, request.query.get("to", path)))
        date = f"Mon, {number % 28 + 1:02d} Jun 2026 10:00:00 GMT"
        about = f"<title>Episode {number}</title><description>About {number}</description>"
        when = f"<pubDate>{date}</pubDate><guid>{escape(name)}-{number}</guid>"
        enclosure = f'<enclosure url="{url}" type="video/mp4" length="1"/>'
        return f"<item>{about}{when}<link>{url}</link>{enclosure}</item>"

    items = "".join(map(item, range(1, int(request.query.get("n", "5")) + 1)))
    about = (
        f"<title>Feed {escape(name)}</title><description>All of {escape(name)}</description><link>/</link>"
    )
    top = '<?xml version="1.0" encoding="UTF-8"?>\n<rss version="2.0">'
    return web.Response(
        text=f"{top}<channel>{about}{items}</channel></rss>\n", content_type="application/rss+xml"
    )


@page
async def text(request: web.Request) -> web.StreamResponse:
    return web.Response(text="Plain words, no video.\n")


@page
async def data(request: web.Request) -> web.StreamResponse:
    return web.json_response({"answer": 42, "video": None})


@page
async def redirect(request: web.Request) -> web.StreamResponse:
    """`/redirect?to=URL&code=302`; `?hops=3` goes round so often first, and `to=loop` never arrives."""
    query = dict(request.query)
    code, hops = int(query.pop("code", "302")), int(query.pop("hops", "0"))
    target = query.pop("to", "/media/small/redirected.mp4")
    if target == "loop" or hops:
        around = {**query, "to": target, "hops": str(max(0, hops - 1)), "code": str(code)}
        target = str(request.rel_url.with_query(around))
    else:
        target = with_knobs(target, {name: value for name, value in query.items() if name in NAMES})
    return web.Response(status=code, headers={"Location": target})


@page
async def status(request: web.Request) -> web.StreamResponse:
    """`/status/{code}/{name}`: always that status, `?retry_after=` with it."""
    code = int(request.match_info["code"])
    headers = {"Retry-After": request.query["retry_after"]} if "retry_after" in request.query else {}
    return web.Response(status=code, text=f"Status {code}.\n", headers=headers)


@page
async def big_headers(request: web.Request) -> web.StreamResponse:
    """`/headers/big/{name}?bytes=200000`: more header than any client should read."""
    size = min(int(request.query.get("bytes", "200000")), 10_000_000)
    return web.Response(text="Small body.\n", headers={"X-Padding": "x" * size})


ROUTES = [
    web.get("/page/html5/{name}.html", html5),
    web.get("/page/jsonld/{name}.html", jsonld),
    web.get("/page/empty/{name}.html", empty),
    web.get("/feed/{name}.rss", feed),
    web.get("/text/{name}.txt", text),
    web.get("/json/{name}.json", data),
    web.get("/redirect", redirect),
    web.get("/redirect/{name}", redirect),
    web.get(r"/status/{code:\d+}/{name}", status),
    web.get("/headers/big/{name}", big_headers),
]
