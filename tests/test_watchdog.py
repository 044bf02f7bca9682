"""A loop that hangs ends the process; nothing else does."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from tests.api.world import until
from umd.watchdog import CHECKS_UNTIL_END, EXIT_HUNG, Watchdog

ROOT = Path(__file__).parent.parent
WAIT_SEC = 20.0

HANGS = """
import asyncio, threading
from umd.watchdog import Watchdog

async def main():
    Watchdog(0.5).start()
    await asyncio.sleep(0.1)
    threading.Event().wait({seconds})
    print("went on")

asyncio.run(main())
"""


def run(seconds: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", HANGS.format(seconds=seconds)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_SEC, check=False)


def test_a_loop_that_hangs_ends_the_process_and_says_where_it_was() -> None:
    done = run(15)

    assert done.returncode == EXIT_HUNG
    assert "the event loop hangs" in done.stderr
    assert "in main" in done.stderr


def test_a_loop_that_is_slow_for_a_moment_goes_on() -> None:
    done = run(0.15)

    assert (done.returncode, done.stdout) == (0, "went on\n")


def test_a_process_that_was_stopped_for_long_goes_on() -> None:
    command = [sys.executable, "-c", HANGS.format(seconds=0.01).replace("sleep(0.1)", "sleep(0.6)")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        ready = threading.Event()
        ready.wait(0.4)
        os.kill(process.pid, signal.SIGSTOP)
        ready.wait(1.0)
        os.kill(process.pid, signal.SIGCONT)
        said, _ = process.communicate(timeout=WAIT_SEC)

    assert (process.returncode, said) == (0, "went on\n")


async def test_it_ends_nothing_while_the_loop_beats_and_stops_twice() -> None:
    ended = threading.Event()
    watchdog = Watchdog(0.02 * CHECKS_UNTIL_END, ended.set)
    watchdog.stop()
    watchdog = Watchdog(0.02 * CHECKS_UNTIL_END, ended.set)
    watchdog.start()

    await until(lambda: watchdog._beats > 3 * CHECKS_UNTIL_END)
    watchdog.stop()
    watchdog.stop()

    assert not ended.is_set()
    assert not watchdog._thread.is_alive()
