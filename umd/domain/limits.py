"""Which limits hold for a job: the request's where it names them, else the server's."""

import msgspec

from umd.domain.events import Limits
from umd.domain.options import MediaOptions


def resolve(options: MediaOptions, defaults: Limits) -> Limits:
    """The limits of a job that is accepted now; they stay with it when the server's change."""
    retention = options.retention_sec
    return Limits(
        timeout_sec=defaults.timeout_sec if options.timeout_sec is None else options.timeout_sec,
        retries=defaults.retries if options.retries is None else options.retries,
        retry_base_sec=defaults.retry_base_sec,
        retention_sec=defaults.retention_sec if isinstance(retention, msgspec.UnsetType) else retention,
    )
