"""The tour that a newcomer takes goes well, and names what the server does not have."""

import asyncio
import re
import sys

from tests.e2e.service import ROOT, WAIT_SEC, Service
from tests.site import Site
from umd.api.routes import ROUTES

ENDPOINTS = 18


async def test_the_tour_goes_to_every_endpoint(service: Service, site: Site) -> None:
    base, there = f"http://127.0.0.1:{service.port}", site.url("")
    tour = await asyncio.create_subprocess_exec(
        *(sys.executable, "scripts/tour.py", "--base", base, "--site", there),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(WAIT_SEC):
        printed = (await tour.communicate())[0].decode()
    visited = re.findall(r"^\d+\. .*\n((?:GET|POST|DELETE) \S+)", printed, re.MULTILINE)
    missing = set(re.findall(r"^  missing: (.+)$", printed, re.MULTILINE))
    ours = {f"{route.method} {route.path.removeprefix('/api/v1')}" for route in ROUTES}

    assert tour.returncode == 0, (printed[-500:], service.lines[-4:])
    assert len(visited) == ENDPOINTS
    assert missing.isdisjoint(ours)
    assert f"{ENDPOINTS} endpoints: {ENDPOINTS - len(missing)} answered" in printed
