"""The process of the service: what it asks of the system, what ends it, and what it says at its end."""

import asyncio
import resource
import signal
from contextlib import suppress

import structlog

from umd.api.gate import check as check_gate
from umd.app import App
from umd.errors import LogLocked, SettingsError, UmdError
from umd.settings import Settings
from umd.telemetry.logging import configure
from umd.watchdog import Watchdog

DESCRIPTORS_MAX = 32_768

EXIT_CLEAN = 0
EXIT_FAULT = 70
EXIT_LOCKED = 75

ENDING = (signal.SIGTERM, signal.SIGINT)

_log = structlog.get_logger(__name__)


async def serve(settings: Settings, *, standby: bool = False) -> int:
    """Run the service until a signal or a fault ends it; returns the exit code.

    A signal that comes while it starts ends the start. A second signal ends the process at once, which is
    safe at any instant: what was answered is durable, and the children's lives hang on this process.
    On `standby` it first waits until no other server holds the event log. Raises `SettingsError` for what
    only this machine could tell.
    """
    check_gate(settings)
    _allow_descriptors()
    configure(settings.log_level, settings.log_format)
    _leave_no_core()
    app = App(settings)
    for number in ENDING:
        asyncio.get_running_loop().add_signal_handler(number, _end_on_signal, app, number)
    watchdog = Watchdog(settings.watchdog_sec)
    if settings.watchdog_sec:
        watchdog.start()
    try:
        if not standby or await app.stand_by():
            await app.start_unless_ended()
        fault = await app.ended()
    except LogLocked as locked:
        _log.error("app.locked", reason=str(locked))
        return EXIT_LOCKED
    except SettingsError:
        raise
    except (UmdError, OSError) as error:
        _log.error("app.cannot_run", reason=str(error), code=getattr(error, "code", None))
        return EXIT_FAULT
    finally:
        await app.stop()
        watchdog.stop()
        _log.info("app.stopped")
    if fault is not None:
        _log.critical("app.fault", exc_info=fault)
        return EXIT_FAULT
    return EXIT_CLEAN


def _allow_descriptors() -> None:
    """Take as many descriptors as the system grants, within reason: each client holds one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_MAX if hard < 0 else min(hard, DESCRIPTORS_MAX)
    if 0 <= soft < wanted:
        with suppress(ValueError, OSError):  # what a sandbox forbids is not needed to run
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _end_on_signal(app: App, number: int) -> None:
    loop = asyncio.get_running_loop()
    for ending in ENDING:
        loop.remove_signal_handler(ending)
        signal.signal(ending, signal.SIG_DFL)
    _log.info("app.signalled", signal=signal.Signals(number).name)
    app.end()


def _leave_no_core() -> None:
    """A crash must not write what is in memory, keys and cookies, into a file."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
