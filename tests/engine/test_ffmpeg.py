import os
import shutil
import subprocess
from pathlib import Path

import pytest

from umd.engine import ffmpeg


def program(path: Path, says: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{says}\n")
    path.chmod(0o755)
    return path


def test_both_programs_are_found_and_run_under_their_names(tmp_path: Path) -> None:
    tools = ffmpeg.find(tmp_path / "bin")

    for name, version in (("ffmpeg", tools.ffmpeg_version), ("ffprobe", tools.ffprobe_version)):
        said = subprocess.run(
            [tmp_path / "bin" / name, "-version"], capture_output=True, text=True, check=True
        )
        assert said.stdout.startswith(f"{name} version {version} ")


def test_a_second_look_changes_nothing_and_mends_what_is_wrong(tmp_path: Path) -> None:
    first = ffmpeg.find(tmp_path)
    before = (tmp_path / "ffmpeg").lstat()
    (tmp_path / "ffprobe").unlink()
    (tmp_path / "ffprobe").symlink_to("/nowhere")

    assert ffmpeg.find(tmp_path) == first
    assert (tmp_path / "ffmpeg").lstat() == before
    assert os.access(tmp_path / "ffprobe", os.X_OK)


def test_the_systems_pair_is_taken_if_it_is_a_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ffmpeg", "ffprobe"):
        program(tmp_path / "system" / name, f"echo {name} version 5.1.9-0+deb12u1 Copyright")
    monkeypatch.setenv("PATH", str(tmp_path / "system"), prepend=os.pathsep)
    both = ffmpeg.find(tmp_path / "bin")
    (tmp_path / "system" / "ffprobe").unlink()
    alone = ffmpeg.find(tmp_path / "bin")

    assert (both.ffmpeg, both.ffmpeg_version) == (str(tmp_path / "system" / "ffmpeg"), "5.1.9-0+deb12u1")
    assert shutil.which("ffprobe") or alone.ffmpeg != both.ffmpeg, "one of the two is no pair"


def test_a_program_that_crashes_counts_as_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "system" / "ffmpeg", "kill -SEGV $$")
    program(tmp_path / "system" / "ffprobe", "echo ffprobe version 7")
    monkeypatch.setenv("PATH", str(tmp_path / "system"), prepend=os.pathsep)
    ffmpeg.find(tmp_path / "bin")
    tools = ffmpeg.find(tmp_path / "bin")

    assert (tools.ffmpeg, tools.ffmpeg_version, tools.ffprobe_version) == (None, None, "7")
    assert not (tmp_path / "bin" / "ffmpeg").is_symlink()


def test_a_program_is_told_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMD_COOKIE_KEY", "a secret")

    assert ffmpeg.ask("env") == f"PATH={os.environ['PATH']}\n"
