"""The command line of umd.

Exit codes: 0 after a clean stop, 1 for a check that failed, 2 for settings, 70 when a fault made the
service stop itself, 75 when another server holds the event log.
"""

import argparse
import asyncio
import json
import os
import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence

from umd import __version__, settings
from umd.cli import engine, log, replay
from umd.domain import access
from umd.errors import LogError, LogLocked, SettingsError

EXIT_CHECK_FAILED = 1
EXIT_SETTINGS = 2
EXIT_LOCKED = 75
EXIT_INTERRUPTED = 130
HEALTH_TIMEOUT_SEC = 4


def serve(loaded: settings.Loaded, arguments: argparse.Namespace) -> int:
    """Run the service until it is told to stop."""
    from umd.serve import serve  # noqa: PLC0415  # the other commands do without a server's imports

    return asyncio.run(serve(loaded.settings, standby=arguments.standby))


def config(loaded: settings.Loaded, _arguments: argparse.Namespace) -> int:
    """Print every setting with its value and where that came from."""
    for name, value in loaded.settings.shown.items():
        print(f"{settings.PREFIX}{name.upper()}={value}  # {loaded.origins[name]}")
    return 0


def health(loaded: settings.Loaded, _arguments: argparse.Namespace) -> int:
    """Ask the running service whether it is well: for a container's health check."""
    host = loaded.settings.host if loaded.settings.host not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104
    url = f"http://{f'[{host}]' if ':' in host else host}:{loaded.settings.port}/api/v1/health/live"
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy leads to oneself
    try:
        with directly.open(url, timeout=HEALTH_TIMEOUT_SEC) as answer:
            print(answer.read().decode())
    except (OSError, urllib.error.URLError) as error:
        print(f"{url}: {error}", file=sys.stderr)
        return EXIT_CHECK_FAILED
    return 0


def key(_loaded: settings.Loaded, _arguments: argparse.Namespace) -> int:
    """Make an API key, and say how the service is told of it."""
    made = access.new_key(secrets.token_bytes(access.KEY_BYTES))
    hashed = f"{access.HASHED}{access.hashed(made).hex()}"
    print(f"key:  {made}\nhash: {hashed}")
    print(
        f"\nThe key is shown only now: give it to the client, and to the service its hash alone:\n"
        f"UMD_API_KEYS='NAME:SCOPE:{hashed}'  # SCOPE is read, write or admin"
    )
    return 0


def openapi(loaded: settings.Loaded, _arguments: argparse.Namespace) -> int:
    """Print the OpenAPI document."""
    from umd.api.openapi import document  # noqa: PLC0415  # the other commands do without the API's imports
    from umd.api.routes import table  # noqa: PLC0415

    said = document(loaded.settings.public_base_url, table(loaded.settings))
    print(json.dumps(said, indent=2))
    return 0


Command = Callable[[settings.Loaded, argparse.Namespace], int]

COMMANDS: dict[str, Command] = {
    "serve": serve,
    "config": config,
    "openapi": openapi,
    "health": health,
    "key": key,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="umd", description="Ultimate Media Downloader")
    parser.add_argument("--version", action="version", version=f"umd {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, function in COMMANDS.items():
        own = commands.add_parser(
            name, help=(function.__doc__ or "").splitlines()[0], description=function.__doc__
        )
        own.set_defaults(run=function)
        if function is serve:
            own.add_argument(
                "--standby", action="store_true", help="wait until no other server holds the event log"
            )
    commands.choices["key"].add_argument("what", choices=["new"])
    log.add_to(commands)
    replay.add_to(commands)
    engine.add_to(commands)
    return _run(parser.parse_args(arguments))


def _run(arguments: argparse.Namespace) -> int:
    command: Command = arguments.run
    try:
        code = command(settings.load(os.environ), arguments)
        sys.stdout.flush()
        return code
    except SettingsError as error:
        print(f"umd: {error}", file=sys.stderr)
        return EXIT_SETTINGS
    except LogLocked as error:
        print(f"umd: {error}", file=sys.stderr)
        return EXIT_LOCKED
    except BrokenPipeError:  # whoever read the lines has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_CHECK_FAILED
    except (LogError, OSError) as error:
        print(f"umd: {error}", file=sys.stderr)
        return EXIT_CHECK_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
