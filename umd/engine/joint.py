"""What the service and one child share: two pipes and a socket, made before the child is."""

import os
import socket

from umd.engine.child import Ends


class Joint:
    """The service's ends, which whoever takes them closes, and the child's."""

    def __init__(self) -> None:
        self.reports, reports_end = os.pipe()
        life_end, self.life = os.pipe()
        self.handover, handover_end = socket.socketpair()
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
