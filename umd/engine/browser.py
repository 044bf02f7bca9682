"""Takes the cookies out of a browser's profile, with yt-dlp's own reader in a process of its own.

The service asks by `extract`; the process is `python -m umd.engine.browser`, which is told on its standard
input and answers on its standard output, in memory alone.
"""

import asyncio
import io
import os
import sys
from contextlib import suppress
from typing import Any

import msgspec

from umd.engine import child
from umd.engine.config import EngineConfig
from umd.errors import EngineError

WAIT_SEC = 20.0
ANSWER_BYTES_MAX = 8_388_608


class Wish(msgspec.Struct, frozen=True):
    """Which cookies: of this browser's profile, which lies in this directory."""

    browser: str
    directory: str


async def extract(config: EngineConfig, browser: str, directory: str) -> str:
    """The cookies of a profile in Netscape's format. Raises `EngineError` where they cannot be had."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "umd.engine.browser"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=child.worker_environment(config),
        cwd=config.scratch,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(WAIT_SEC):
            answer, _ = await process.communicate(msgspec.json.encode(Wish(browser, directory)))
    except TimeoutError:
        raise EngineError("The browser's profile could not be read in time.") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0 or len(answer) > ANSWER_BYTES_MAX:
        raise EngineError("The browser's profile could not be read.")
    return answer.decode(errors="replace")


def main() -> None:
    from yt_dlp.cookies import YDLLogger, extract_cookies_from_browser

    class Silent(YDLLogger):  # type: ignore[misc]  # yt-dlp has no types
        """Says nothing: what it would say may hold what it reads."""

        def debug(self, message: str, *_: Any) -> None: ...
        def info(self, message: str, *_: Any) -> None: ...
        def warning(self, message: str, *_: Any, **__: Any) -> None: ...
        def error(self, message: str, *_: Any) -> None: ...
        def progress_bar(self) -> None: ...

    wish = msgspec.json.decode(sys.stdin.buffer.read(), type=Wish)
    jar = extract_cookies_from_browser(wish.browser, os.path.join(wish.directory, ""), Silent())
    text = io.StringIO()
    jar.save(text)
    sys.stdout.write(text.getvalue())


if __name__ == "__main__":
    main()
