"""What a child can still do once it is shut off, tried from inside by programs of every kind."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.engine.rig import ROOT, Rig
from tests.site import Site
from umd.engine import sandbox
from umd.engine.sandbox import Confinement, Level
from umd.errors import SettingsError

KEPT: tuple[Level, ...] = ("netns", "landlock")
"""The levels that the kernel keeps."""


def offered() -> set[Level]:
    """What this machine has, tried one by one in a process with one thread."""
    levels: set[Level] = set()
    for level in KEPT:
        command = [sys.executable, "-m", "umd.engine.sandbox", f"--best={level}"]
        done = subprocess.run(command, capture_output=True, check=True, cwd=ROOT)
        levels.add(msgspec.json.decode(done.stdout, type=Confinement).level)
    return levels


@pytest.fixture(params=KEPT, scope="module")
def level(request: pytest.FixtureRequest) -> Level:
    kept: Level = request.param
    if kept not in offered():
        pytest.skip(f"This machine does not offer {kept}: nothing can be shown of it here.")
    return kept


@pytest.fixture(scope="module")
def inside(level: Level, tmp_path_factory: pytest.TempPathFactory) -> Any:  # noqa: ANN401 - JSON
    """What every attempt came to, made by a child of this level in `own`; `other` is another job's."""
    root = tmp_path_factory.mktemp("data")
    for name in ("own", "other"):
        (root / name).mkdir()
        (root / name / "file").write_text("secret")
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    with (
        socket.create_server(("127.0.0.1", 0)) as outside,
        socket.socket(socket.AF_UNIX) as inner,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal,
    ):
        inner.bind(str(root / "socket"))
        inner.listen()
        journal.bind(str(root / "journal"))
        arguments = [level, str(root), str(outside.getsockname()[1]), str(os.getpid())]
        done = subprocess.run(
            [sys.executable, "-c", ATTEMPTS, *arguments],
            capture_output=True,
            env=environment,
            cwd=root / "own",
            check=True,
        )
        outside.setblocking(False)
        journal.setblocking(False)
        with pytest.raises(BlockingIOError):
            outside.accept()
        with pytest.raises(BlockingIOError):
            journal.recv(1)
    return json.loads(done.stdout)


ATTEMPTS = """
import ctypes, json, os, signal, socket, subprocess, sys
from umd.engine import sandbox

level, root, port, service = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
theirs, mine = socket.socketpair()
bounds = sandbox.Bounds(writable=(os.getcwd(),), private=root)
proxy = sandbox.enter(level, mine, bounds)
_, (descriptor,), _, _ = socket.recv_fds(theirs, 1, 1)
listener = socket.socket(fileno=descriptor)
results = {}

def attempt(name, action):
    try:
        results[name] = str(action() or "done")
    except Exception as error:
        results[name] = "refused: " + type(error).__name__

def run(*command):
    done = subprocess.run(command, capture_output=True, timeout=20)
    return done.stdout.decode().strip() or f"status {done.returncode}"

def script(text):
    return lambda: run(sys.executable, "-I", "-c", text)

def status(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(name + ":"))

connect = "import socket; socket.create_connection(('127.0.0.1', %d), 2)"
attempt("proxy", lambda: socket.create_connection(("127.0.0.1", int(proxy.rpartition(":")[2])), 2).close())
attempt("tcp", lambda: socket.create_connection(("127.0.0.1", port), 2).close())
attempt("tcp of a program", script(connect % port + "; print('got out')"))
FAST_OPEN, place = socket.MSG_FASTOPEN, ("127.0.0.1", port)
attempt("tcp with the first data", lambda: socket.socket().sendto(b"x", FAST_OPEN, place))
attempt("tcp with the first message", lambda: socket.socket().sendmsg([b"x"], [], FAST_OPEN, place))
attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", port)))
attempt("udp of ipv6", lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
attempt("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
attempt("multipath", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262))
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
attempt("vsock", lambda: socket.socket(40, socket.SOCK_STREAM))
attempt("unix", lambda: socket.socket(socket.AF_UNIX).connect(root + "/socket"))
def paired(kind):
    return socket.socketpair(type=kind)[0].sendto(b"x", root + "/journal")

attempt("datagram of a pair", lambda: paired(socket.SOCK_DGRAM))
attempt("raw pair", lambda: paired(socket.SOCK_RAW))
attempt("listen", lambda: socket.create_server(("127.0.0.1", 0)))
libc = ctypes.CDLL(None)

def cloned(flags):
    # A process in namespaces of its own has every capability there.
    pid = libc.syscall({"x86_64": 56, "aarch64": 220}[os.uname().machine], flags | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    return "refused" if pid < 0 else os.waitpid(pid, 0) and "cloned"

for name, flag in (("user", 0x10000000), ("user and network", 0x50000000), ("mount", 0x00020000)):
    attempt("clone: " + name, lambda: cloned(flag))
attempt("clone", lambda: cloned(0))
attempt("io_uring", lambda: libc.syscall(425, 8, ctypes.create_string_buffer(120)))
attempt("own file", lambda: open("new", "w").write("x"))
attempt("own read", lambda: open("file").read())
attempt("read of another", lambda: open(root + "/other/file").read())
attempt("read of another by a program", script(f"print(open({root + '/other/file'!r}).read())"))
attempt("write to another", lambda: open(root + "/other/file", "w"))
attempt("write beside", lambda: open(root + "/new", "w"))
attempt("write to tmp", lambda: open("/tmp/umd-sandbox-test", "w"))
attempt("link", lambda: os.link(root + "/other/file", "linked"))
attempt("home", lambda: os.listdir(os.path.expanduser("~root")))
attempt("shadow", lambda: open("/etc/shadow").read())
attempt("environment of the service", lambda: open(f"/proc/{service}/environ").read())
attempt("memory of the service", lambda: open(f"/proc/{service}/mem", "rb").read(1))
attempt("signal to the service", lambda: os.kill(service, 0))
attempt("mount", lambda: libc.mount(b"x", b"/mnt", b"tmpfs", 0, None) and "refused")
attempt("null", lambda: open(os.devnull, "w").write("x"))
attempt("program", script("print('runs')"))
attempt("CapEff of a program", lambda: run("grep", "CapEff", "/proc/self/status").split()[1])
for name in ("CapEff", "CapPrm", "NoNewPrivs", "Seccomp"):
    attempt(name, lambda: status(name))
print(json.dumps(results))
"""


def test_the_proxy_is_the_only_way_out(inside: dict[str, Any]) -> None:
    ways = (
        *(
            "tcp",
            "tcp with the first data",
            "tcp with the first message",
            "udp",
            "udp of ipv6",
            "raw",
            "packet",
        ),
        *("multipath", "netlink", "vsock", "unix", "datagram of a pair", "raw pair", "listen"),
    )

    assert inside["proxy"] == "done"
    assert {way: inside[way] for way in ways if not inside[way].startswith("refused")} == {}
    assert inside["tcp of a program"] == "status 1"
    assert inside["io_uring"] == "-1"


def test_only_its_own_folder_is_open_to_it(inside: dict[str, Any]) -> None:
    closed = (
        *("read of another", "write to another", "write beside", "write to tmp", "link", "home", "shadow"),
        *("environment of the service", "memory of the service"),
    )

    assert {place: inside[place] for place in closed if not inside[place].startswith("refused")} == {}
    assert inside["read of another by a program"] == "status 1"
    assert inside["own file"] == "1"
    assert inside["own read"] == "secret"


def test_programs_run_but_reach_nobody_and_gain_nothing(inside: dict[str, Any]) -> None:
    assert inside["program"] == "runs"
    assert inside["null"] == "1"
    assert inside["signal to the service"].startswith("refused")
    assert inside["mount"] == "refused"
    assert [inside[f"clone: {name}"] for name in ("user", "user and network", "mount")] == ["refused"] * 3
    assert inside["clone"] == "cloned"
    assert [inside[name] for name in ("CapEff", "CapPrm", "CapEff of a program")] == ["0" * 16] * 3
    assert (inside["NoNewPrivs"], inside["Seccomp"]) == ("1", "2")


def test_an_operator_reads_what_keeps_the_better_levels_from_working() -> None:
    blocked = sandbox.Confinement("proxy", {"netns": "unshare: Operation not permitted", "landlock": "old"})

    assert str(blocked) == "proxy (no netns: unshare: Operation not permitted; no landlock: old)"
    assert str(sandbox.Confinement("netns")) == "netns"


@pytest.mark.parametrize("mode", ["fork", "spawn"])
async def test_less_than_is_demanded_is_refused(site: Site, tmp_path: Path, mode: str) -> None:
    rig = Rig(site, tmp_path, mode, sandbox="proxy", sandbox_least="landlock")

    with pytest.raises(SettingsError, match="UMD_SANDBOX demands landlock; this machine offers proxy"):
        await rig.engine.start()
    await rig.engine.stop()


RUN_INSIDE = """
import os, socket, subprocess, sys
from umd.engine import sandbox
theirs, mine = socket.socketpair()
sandbox.enter(sys.argv[1], mine, sandbox.Bounds(writable=(os.getcwd(),)))
sys.exit(subprocess.run(sys.argv[2:]).returncode)
"""


def run_inside(level: Level, folder: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", RUN_INSIDE, level, *command],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "HOME": str(folder), "PATH": os.environ["PATH"]},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_deno_runs_inside(level: Level, tmp_path: Path) -> None:
    deno = Path(sys.prefix) / "bin" / "deno"

    assert run_inside(level, tmp_path, str(deno), "eval", "console.log(6 * 7)") == "42\n"


def test_ffmpeg_runs_inside(level: Level, tmp_path: Path, rig: Rig) -> None:
    pattern = ("-v", "error", "-f", "lavfi", "-i", "testsrc=d=0.2:s=64x64")
    run_inside(level, tmp_path, str(rig.tools.ffmpeg), *pattern, "out.mp4")

    assert rig.codecs(tmp_path / "out.mp4") == {"h264"}
