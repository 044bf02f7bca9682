"""The rules of what happens on the volume and concerns no job."""

from umd.domain.commands import RecordSwept
from umd.domain.events import FilesSwept

STREAM = "storage"
"""The name of the volume's stream in the log."""


def decide(command: RecordSwept) -> tuple[FilesSwept]:
    """What comes of a command: the files are gone, whatever else is known."""
    return (FilesSwept(command.files),)
