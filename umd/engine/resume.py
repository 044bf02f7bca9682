"""Decides what of an earlier attempt's files may be gone on with.

Partial files are named after nothing but their role, so that a site's words never meet the file system.
Hence a note beside them says what they are a part of: if the site offers something else this time, the two
must not be joined into one file.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from umd.engine.params import STEM

NOTE = ".source.json"

_RESUMABLE = re.compile(r"\.part$|\.part-Frag\d+(\.part)?$|\.ytdl$")
"""What yt-dlp goes on with (`continuedl`), and the state that it keeps for fragments."""


def prepare(info: Mapping[str, Any], directory: Path = Path()) -> None:
    """Remove what an earlier attempt left, but for parts of this very source; note the source."""
    source = _source(info)
    note = directory / NOTE
    same = note.is_file() and note.read_text(encoding="utf-8", errors="replace") == source
    for path in directory.glob(f"{STEM}*"):
        if path.is_file() and not (same and _is_resumable(path.name)):
            path.unlink()
    note.write_text(source, encoding="utf-8")


def _is_resumable(name: str) -> bool:
    """A part, or one of several streams that is complete and waits for the merge (`media.f137.mp4`)."""
    return bool(_RESUMABLE.search(name)) or name.startswith(f"{STEM}.f")


def _source(info: Mapping[str, Any]) -> str:
    forms = info.get("requested_formats") or [info]
    about = [[form.get(key) for key in ("format_id", "ext", "filesize", "protocol")] for form in forms]
    return json.dumps([info.get("extractor"), info.get("id"), about], default=str)
