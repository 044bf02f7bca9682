"""The pages that show the API: packaged files, a strict policy, and a real browser that keeps to it."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from tests.api.browser import browsing, needs_chromium
from tests.api.door import door
from tests.api.world import Answer, World, is_problem
from umd.api import docs
from umd.settings import Settings

# As `scripts/docs_assets.py` printed them: swagger-ui-dist 5.35.0, redoc 2.5.4.
HASHES = {
    "swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
    "swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
    "favicon-32x32.png": "3ed612f41e050ca5e7000cad6f1cbe7e7da39f65fca99c02e99e6591056e5837",
    "swagger-ui-bundle.js.LICENSE.txt": "37eb6e7e59aed57b2c1acf076574b818ea07b74265717e0bd67b59e0baf9abbb",
    "swagger-ui.LICENSE": "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
    "swagger-ui.NOTICE": "0d20d1adef18aee3f40dd258172155521ce702ac445cb5f7b7d60ed32dad2fb2",
    "redoc.standalone.js": "e3d4361ba4ecdba1fad6ff3c627ef1e2563d78c02fbadb8e38572accac6a2acc",
    "redoc.standalone.js.LICENSE.txt": "eed602ec32e00b2b9df1984fbcc26a687b1b3193ec01961389c4b8439e6edf73",
    "redoc.LICENSE": "d3026d549cf68ab7355bcfa85877bf8f845b3334a7efbfdc63936432fb34ff0e",
}


async def fetched(world: World, path: str, method: str = "GET") -> Answer:
    async with world.session.request(method, path) as got:
        return Answer(got.status, got.headers, await got.read())


def test_the_packaged_files_are_those_of_their_release() -> None:
    found = {name: hashlib.sha256((docs.ASSETS / name).read_bytes()).hexdigest() for name in HASHES}

    assert found == HASHES


@pytest.mark.parametrize("path", [path for path in docs.PATHS if "{" not in path])
async def test_a_page_is_there_with_a_policy_of_its_own(world: World, path: str) -> None:
    answer = await fetched(world, path)

    assert answer.status == 200
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    if path.endswith(".json"):
        assert answer.json["openapi"] == "3.1.0"
    else:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "script-src 'self';" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", docs.PATHS)
async def test_a_page_asks_for_no_key(tmp_path: Path, path: str) -> None:
    async with door(tmp_path, rate_limit_anonymous="1/hour") as world:
        for method in ("GET", "HEAD", "GET"):
            answer = await fetched(world, path.replace("{name}", "swagger-ui.css"), method)
            assert answer.status == 200


@pytest.mark.parametrize("page", docs.PAGES)
async def test_everything_that_a_page_names_is_served_here(world: World, page: str) -> None:
    html = (await fetched(world, f"/api/{page}")).body.decode()

    named = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert len(named) >= 3
    assert "<style" not in html
    for path in named:
        assert (await fetched(world, f"/api/{path}")).status == 200, path


@pytest.mark.parametrize("name", ["nope.js", "swagger.html", "..%2Fdocs.py", "swagger-ui.LICENSE"])
async def test_nothing_else_is_served(world: World, name: str) -> None:
    assert is_problem(await fetched(world, f"/api/docs/assets/{name}"), "not_found", 404)


async def test_the_operator_may_switch_the_pages_off(tmp_path: Path) -> None:
    settings = Settings(port=0, docs_enabled=False)
    async with World(tmp_path, settings).running() as world:
        for path in docs.PATHS:
            answer = await fetched(world, path.replace("{name}", "swagger-ui.css"))
            assert is_problem(answer, "not_found", 404)


@needs_chromium
@pytest.mark.parametrize(
    ("page", "shown"), [("docs", ".opblock-summary-path"), ("redoc", "[data-section-id] h2")]
)
async def test_a_browser_renders_the_page_and_asks_no_other_host(
    world: World, tmp_path: Path, page: str, shown: str
) -> None:
    base = f"http://127.0.0.1:{world.port}"
    async with browsing(tmp_path, "Page", "Network", "Runtime", "Log", "Audits") as browser:
        await browser.command("Page.navigate", url=f"{base}/api/{page}")
        count = await browser.evaluate(_waiting_for(shown))
        text = await browser.evaluate("document.body.innerText")

    asked = [_url(heard) for name, heard in browser.heard if name == "Network.requestWillBeSent"]
    complaints = [heard for name, heard in browser.heard if _complains(name, heard)]
    assert isinstance(count, int)
    assert count >= 15
    assert "/api/v1/download" in str(text)
    assert len(asked) >= 5
    assert [url for url in asked if not url.startswith((f"{base}/", "data:", "blob:"))] == []
    assert complaints == [], json.dumps(complaints)[:2_000]


def _url(heard: dict[str, object]) -> str:
    request = heard["request"]
    assert isinstance(request, dict)
    return str(request["url"])


def _complains(name: str, heard: dict[str, object]) -> bool:
    """An error of a script, a violation of the policy, a request that failed; no advice on accessibility."""
    if name == "Audits.issueAdded":
        return "ContentSecurityPolicyIssue" in json.dumps(heard)
    return name in ("Runtime.exceptionThrown", "Log.entryAdded")


def _waiting_for(selector: str) -> str:
    """How many elements there are, as soon as there are enough and the page has come to rest."""
    return f"""new Promise(resolve => {{
        const look = () => {{
            const found = document.querySelectorAll({json.dumps(selector)}).length;
            found >= 15 ? setTimeout(() => resolve(found), 500) : setTimeout(look, 50);
        }};
        look();
    }})"""
