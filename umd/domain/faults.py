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


def fault(code: str, message: str) -> Fault:
    """A fault of a known code. Raises `KeyError` for a code that is not documented."""
    return Fault(code, message[:MESSAGE_CHARACTERS_MAX], RETRYABLE[code])
