"""The world of the API with keys, and its callers."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from tests.api.world import COOKIE_KEY, Answer, World
from umd.domain.access import new_key
from umd.settings import Settings

NAMES = ("alice", "bob")
SCOPES = ("read", "write", "admin")


def key_of(name: str, scope: str) -> str:
    return new_key(f"{name}-{scope}".encode().ljust(32, b"."))


KEYS = ",".join(f"{name}:{scope}:{key_of(name, scope)}" for name in NAMES for scope in SCOPES)


def headers(who: str | None) -> dict[str, str]:
    """The headers of a caller, as `alice-write`; None has no key, and `stranger` one that is not valid."""
    if who is None:
        return {}
    if who == "stranger":
        return {"X-API-Key": new_key(b"s" * 32)}
    name, _, scope = who.partition("-")
    return {"X-API-Key": key_of(name, scope)}


class Door(World):
    """A world whose callers have names."""

    async def by(self, who: str | None, method: str, path: str, **more: str) -> Answer:
        return await self.ask(method, path, headers={**headers(who), **more})

    async def job_of(self, who: str) -> str:
        answer = await self.post(
            {"url": "https://example.com/v", "webhook_url": "https://hooks.test/in"}, **headers(who)
        )
        assert answer.status == 202, answer.body
        job_id: str = answer.json["request_id"]
        return job_id

    async def batch_of(self, who: str, url: str = "https://example.com/v") -> str:
        body = {"urls": [url], "webhook_url": "https://hooks.test/in"}
        answer = await self.post(body, "/batch/download", **headers(who))
        assert answer.status == 202, answer.body
        batch_id: str = answer.json["batch_id"]
        return batch_id


def door(root: Path, **changes: object) -> AbstractAsyncContextManager[World]:
    """A world with keys, and without limits where the test names none."""
    limits = {"rate_limit": "", "rate_limit_anonymous": ""}
    settings = {"port": 0, "cookie_key": COOKIE_KEY, "api_keys": KEYS, **limits, **changes}
    return Door(root, settings=Settings(**settings)).running()  # type: ignore[arg-type]  # as the test has it
