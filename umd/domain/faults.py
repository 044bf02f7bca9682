"""The codes of a failed attempt, each with whether another attempt by itself makes sense."""

from types import MappingProxyType

from umd.domain.events import Fault

RETRYABLE = MappingProxyType(
    {
        "unsupported_url": False,
        "not_found": False,
        "private": False,
        "login_required": False,
        "age_restricted": False,
        "geo_blocked": False,
        "live_not_started": False,
        "drm_protected": False,
        "format_unavailable": False,
        "rate_limited_by_site": True,
        "blocked_by_site": True,
        "network": True,
        "upstream_error": True,
        "timeout": False,
        "too_large": False,
        "storage_full": True,
        "postprocessing_failed": True,
        "ffmpeg_missing": False,
        "address_not_allowed": False,
        "domain_not_allowed": False,
        "worker_crashed": True,
        "internal": False,
    }
)
"""Every code that `error.code` of a job can have."""

MESSAGE_CHARACTERS_MAX = 500


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


def fault(code: str, message: str) -> Fault:
    """A fault of a known code. Raises `KeyError` for a code that is not documented."""
    return Fault(code, message[:MESSAGE_CHARACTERS_MAX], RETRYABLE[code])
