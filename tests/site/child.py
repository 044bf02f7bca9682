"""Runs real yt-dlp for the site's tests: an order on stdin, one JSON line for each URL into a file."""

import json
import sys
from pathlib import Path
from typing import Any

from yt_dlp import YoutubeDL

DEFAULTS = {
    "quiet": True,
    "no_warnings": True,
    "noprogress": True,
    "cachedir": False,
    "restrictfilenames": True,
    # The command line retries ten times, the Python interface not at all unless told to.
    "retries": 3,
    "fragment_retries": 3,
}


def _chain(error: BaseException) -> list[str]:
    """The classes from what yt-dlp raises down to what happened: what a table of faults has to go by."""
    names: list[str] = []
    step: BaseException | None = error
    while step is not None and len(names) < 10:
        names.append(type(step).__name__)
        inner = getattr(step, "exc_info", None)
        step = inner[1] if inner and inner[1] is not step else getattr(step, "cause", None)
    return names


def _one(params: dict[str, Any], url: str, download: bool) -> dict[str, Any]:
    with YoutubeDL({**DEFAULTS, **params}) as ydl:
        try:
            return {"info": ydl.sanitize_info(ydl.extract_info(url, download=download))}
        except Exception as error:  # noqa: BLE001  # Whatever it is, is the result.
            return {"error": str(error), "chain": _chain(error)}


def main() -> None:
    order = json.load(sys.stdin)
    with Path(sys.argv[1]).open("w") as results:
        for url in order["urls"]:
            results.write(json.dumps(_one(order["params"], url, order["download"])) + "\n")
            results.flush()


if __name__ == "__main__":
    main()
