"""The errors that umd raises on purpose, as one tree.

    UmdError
    ├── Refused                  a request that the rules turn down; nothing was stored
    │   ├── InvalidInput         a value that cannot be accepted, with the pointer of each field
    │   ├── NotAllowed           a place that the operator's rules do not let umd connect to
    │   │   ├── AddressNotAllowed   inside a network, or a port that no media is served from
    │   │   └── DomainNotAllowed    a site that the operator has blocked, or not allowed
    │   ├── NotFound             no such job, file or route
    │   ├── Gone                 it was there, and its time is over
    │   ├── InvalidState         the resource is in a state that does not allow it
    │   ├── StaleAttempt         a report of an attempt that is no longer the current one
    │   ├── IdempotencyKeyReused the key came with another body before
    │   ├── SecretsUnavailable   there is no key to seal a secret with
    │   ├── BrowserUnavailable   the operator has named no profile of this browser
    │   ├── QueueFull            the queue is at its limit; later may work
    │   └── ShuttingDown         the service takes no new work; later may work
    ├── LogError                 the event log
    │   ├── Conflict             the stream has moved on since it was loaded
    │   ├── StorageFull          no space left: nothing was stored; works again when there is space
    │   ├── LogLocked            another server holds this log
    │   ├── LogCorrupt           the hash chain, a version or a position does not fit
    │   ├── LogReadOnly          the log is damaged: it is read up to the damage, and takes nothing more
    │   └── LogFailed            a write ended with an unknown outcome: stop, and replay
    ├── Unsealable               a sealed secret that cannot be opened
    ├── Unanswered               a webhook's receiver gave no answer
    ├── ExtractionFailed         a site does not tell what was asked; its code is that of a download
    ├── UpstreamTimeout          a site did not answer in time
    ├── EngineError              the worker processes cannot be started or have broken their protocol
    │   └── ReleaseChanged       the attempt was recorded with a release of yt-dlp that is in use no more
    ├── Overloaded               a mailbox or another bounded queue is full
    ├── RestartsExhausted        an actor failed more often than its supervisor's budget allows
    └── SettingsError            the environment holds a value that umd cannot start with

Each has a stable `code` and says whether trying the same again makes sense. Nothing here knows HTTP:
`umd.api.problems` maps the tree to status codes in one place.
"""

from typing import ClassVar

import msgspec


class FieldError(msgspec.Struct, frozen=True):
    """One field that was not accepted: a JSON pointer (RFC 6901) and a sentence."""

    pointer: str
    message: str


class UmdError(Exception):
    """The root. `str(error)` is a sentence that may be shown to the caller."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False


class Refused(UmdError):
    """A request that the rules turn down; nothing was stored."""


class InvalidInput(Refused):
    """A value that cannot be accepted; `errors` names each field."""

    code = "validation_error"

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("; ".join(f"{error.pointer or '/'}: {error.message}" for error in errors))
        self.errors = errors


class NotAllowed(Refused):
    """A place that the operator's rules do not let umd connect to."""


class AddressNotAllowed(NotAllowed):
    """An address inside a network, in whatever spelling, or a port that no media is served from."""

    code = "address_not_allowed"


class DomainNotAllowed(NotAllowed):
    """A site that the operator has blocked, or not allowed."""

    code = "domain_not_allowed"


class NotFound(Refused):
    """No such thing; `kind` becomes the code, as in `job_not_found`."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"There is no {kind} {name!r}.")
        self.code = f"{kind}_not_found"  # type: ignore[misc]  # the one code that depends on the instance


class Gone(Refused):
    """A file that was deleted when its retention ended."""

    code = "file_expired"


class InvalidState(Refused):
    """The resource is in a state that does not allow what was asked."""

    code = "invalid_state"


class StaleAttempt(InvalidState):
    """A report of an attempt that is no longer the current one: its sender has to stop."""


class IdempotencyKeyReused(Refused):
    """The same `Idempotency-Key` came with another body before."""

    code = "idempotency_key_reused"


class SecretsUnavailable(Refused):
    """A secret was to be kept, and `UMD_COOKIE_KEY` is not set."""

    code = "secrets_unavailable"


class BrowserUnavailable(Refused):
    """Cookies were to be taken from a browser, and the operator has named no profile of it."""

    code = "browser_unavailable"


class QueueFull(Refused):
    """As many jobs wait as `UMD_QUEUE_MAX` allows."""

    code = "queue_full"
    retryable = True


class ShuttingDown(Refused):
    """The service is stopping and takes no new work."""

    code = "shutting_down"
    retryable = True


class LogError(UmdError):
    """The event log could not do what was asked."""


class Conflict(LogError):
    """The stream's last position is not the expected one: load again and decide again."""

    retryable = True


class StorageFull(LogError):
    """The volume is full. The append was rolled back whole."""

    code = "storage_full"
    retryable = True


class LogLocked(LogError):
    """Another process holds the log's lock."""


class LogCorrupt(LogError):
    """What is stored does not fit its hash chain; `position` is the first bad one."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


class LogReadOnly(LogError):
    """The log is damaged at a known position: what stands before it is served, and nothing is stored."""

    code = "log_read_only"


class LogFailed(LogError):
    """A commit whose outcome is unknown. The process must end and replay the log."""


class Unsealable(UmdError):
    """A sealed secret whose key is not there, or that has been changed or moved."""


class Unanswered(UmdError):
    """No answer came to a webhook: the text says why, and holds no secret."""

    retryable = True


class ExtractionFailed(UmdError):
    """A site does not tell what was asked of it; `hint` is what a person can do.

    `retry_after_sec` is what the site itself asked for.
    """

    def __init__(
        self, code: str, message: str, *, retryable: bool, hint: str, retry_after_sec: int | None
    ) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]  # as in `NotFound`
        self.retryable = retryable  # type: ignore[misc]
        self.hint = hint
        self.retry_after_sec = retry_after_sec


class UpstreamTimeout(UmdError):
    """A site did not answer in time."""

    code = "upstream_timeout"
    retryable = True


class EngineError(UmdError):
    """A worker process could not be started, or broke the protocol."""

    code = "worker_crashed"
    retryable = True


class ReleaseChanged(EngineError):
    """Another release of yt-dlp came into use between the record of an attempt and its start."""


class Overloaded(UmdError):
    """A bounded queue inside the service is full."""

    code = "queue_full"
    retryable = True


class RestartsExhausted(UmdError):
    """An actor failed more often than its supervisor's budget allows."""


class SettingsError(UmdError):
    """A setting that umd cannot start with; the text is one clear line for stderr."""
