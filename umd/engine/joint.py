"""What the service and one child share: two pipes and a socket, made before the child is."""

import os
import socket
from contextlib import ExitStack

from umd.engine.child import Ends
from umd.errors import EngineError


class Joint:
    """The service's ends, which whoever takes them closes, and the child's.

    Raises `EngineError` where no descriptors are left, and then holds none.
    """

    def __init__(self) -> None:
        try:
            with ExitStack() as undo:
                self.reports, reports_end = _pipe(undo)
                life_end, self.life = _pipe(undo)
                self.handover, handover_end = socket.socketpair()
                undo.pop_all()
        except OSError as error:
            raise EngineError(f"No process can be made: {error.strerror}.") from error
        self.ends = Ends(reports_end, life_end, handover_end.detach())

    def close(self) -> None:
        """There will be no child."""
        os.close(self.reports)
        os.close(self.life)
        self.handover.close()

    def close_ends(self) -> None:
        """The child has its ends, or there is no child."""
        for descriptor in (self.ends.reports, self.ends.life, self.ends.handover):
            os.close(descriptor)


def _pipe(undo: ExitStack) -> tuple[int, int]:
    reading, writing = os.pipe()
    undo.callback(os.close, reading)
    undo.callback(os.close, writing)
    return reading, writing
