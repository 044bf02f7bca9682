"""How much room the volume has for more, by the operator's quota and floor."""

import asyncio

import structlog

from umd.domain import retention
from umd.projections.files import Files
from umd.settings import Settings
from umd.storage.volume import Volume

_log = structlog.get_logger(__name__)


class Space:
    """Looks at the volume, and at what the log says is stored there."""

    def __init__(self, settings: Settings, volume: Volume, files: Files) -> None:
        self._settings = settings
        self._volume = volume
        self._files = files

    @property
    def over_quota(self) -> bool:
        """Whether more is stored than the operator allows."""
        quota = self._settings.storage_quota_bytes
        return bool(quota) and self._files.stored_bytes > quota

    async def lacking_bytes(self) -> int:
        """How much has to go before a job may start; 0 when there is room, or nobody can tell."""
        try:
            free = await asyncio.to_thread(self._volume.free_bytes)
        except OSError as error:
            _log.warning("space.unknown", reason=str(error))
            return 0
        return retention.lacking_bytes(
            stored=self._files.stored_bytes,
            free=free,
            quota=self._settings.storage_quota_bytes,
            free_min=self._settings.min_free_bytes,
        )
