"""The codes of a failed attempt, each with whether another attempt makes sense, and what a person can do."""

from types import MappingProxyType
from typing import NamedTuple

from umd.domain.events import Fault


class Kind(NamedTuple):
    """What a code means for a job, and for whoever asked for it."""

    retryable: bool
    """Whether another attempt by itself makes sense."""
    hint: str
    slower: int = 1
    """The waits between attempts are so many times longer."""
    once: bool = False
    """Whether the same fault twice in a row is the end, however many retries are left."""


KINDS = MappingProxyType(
    {
        "unsupported_url": Kind(
            False, "Check the address: it has to lead to one video or audio item, over http or https."
        ),
        "not_found": Kind(False, "Check the address; the item may have been removed."),
        "private": Kind(False, "Store a cookie jar of an account that may see the item, and name it."),
        "login_required": Kind(False, "Store a cookie jar of an account, and name it as cookies_id."),
        "age_restricted": Kind(
            False, "Store a cookie jar of an account that has proved its age, and name it as cookies_id."
        ),
        "geo_blocked": Kind(False, "Use a server or a proxy in a country where the site offers the item."),
        "live_not_started": Kind(
            False, "Set wait_for_video_sec to wait for the beginning, or try again when it has begun."
        ),
        "drm_protected": Kind(False, "There is nothing to be done: what is encrypted is not downloaded."),
        "format_unavailable": Kind(
            False, "See which formats there are; choose another quality, container, section or selector."
        ),
        "rate_limited_by_site": Kind(True, "Wait, and ask less of this site at a time.", slower=6),
        "blocked_by_site": Kind(
            True,
            "A cookie jar of a browser that the site trusts may help, or another address.",
            slower=6,
            once=True,
        ),
        "network": Kind(True, "Try again later; if it goes on, look at the server's connection."),
        "upstream_error": Kind(True, "Try again later: the fault is the site's."),
        "timeout": Kind(
            False, "Raise timeout_sec, or ask for a lower quality; a retry goes on where it was."
        ),
        "too_large": Kind(
            False, "Raise max_filesize as far as the server permits, or ask for a lower quality."
        ),
        "storage_full": Kind(True, "Free some space on the server's volume.", slower=6),
        "postprocessing_failed": Kind(
            True, "Try another video_format or audio_format; the log lines tell what ffmpeg said.", once=True
        ),
        "ffmpeg_missing": Kind(
            False, "The operator has to install ffmpeg with ffprobe; without it ask for no processing."
        ),
        "address_not_allowed": Kind(
            False,
            "It led to an address inside a network, or to a port that no media is served from; the operator "
            "may permit them with UMD_ALLOW_ADDRESSES and UMD_ALLOWED_PORTS.",
        ),
        "cookies_not_found": Kind(
            False, "Store the cookie jar anew: it was deleted, has expired, or cannot be opened."
        ),
        "domain_not_allowed": Kind(False, "The operator of this server does not permit this site."),
        "worker_crashed": Kind(True, "Try again; if it repeats, tell the operator."),
        "internal": Kind(False, "Tell the operator: a newer release of umd or yt-dlp may do better."),
    }
)
"""Every code that `error.code` of a job can have."""

RETRYABLE = MappingProxyType({code: kind.retryable for code, kind in KINDS.items()})

MESSAGE_CHARACTERS_MAX = 500


def fault(code: str, message: str, retry_after_sec: int | None = None) -> Fault:
    """A fault of a known code. Raises `KeyError` for a code that is not documented."""
    kind = KINDS[code]
    return Fault(code, message[:MESSAGE_CHARACTERS_MAX], kind.retryable, kind.hint, retry_after_sec)


_LOOKS_OF_A_REFUSAL = frozenset(
    {
        "unsupported_url",
        "format_unavailable",
        "blocked_by_site",
        "network",
        "upstream_error",
        "too_large",
        "postprocessing_failed",
        "internal",
    }
)
"""What a download may call it when a connection was not let through: its tools know only that it failed."""


def blame(error: Fault, refusal: Fault | None) -> Fault:
    """The true reason of an attempt that failed with this error, and met this refusal on its way out."""
    return refusal if refusal is not None and error.code in _LOOKS_OF_A_REFUSAL else error
