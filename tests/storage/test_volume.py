"""Results appear whole or not at all, and what was cut short is undone."""

import errno
import hashlib
from pathlib import Path

import pytest

from umd.domain.events import File
from umd.domain.naming import Place
from umd.storage.volume import Source, Volume, sources

PLACE = Place("videos", "clip")


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    volume = Volume(tmp_path / "data")
    volume.prepare()
    return volume


def finished(volume: Volume, job_id: str = "j1", **files: bytes) -> list[Source]:
    folder = volume.working_folder(job_id)
    for name, content in (files or {"media.mp4": b"film"}).items():
        (folder / name.replace("_", ".")).write_bytes(content)
    return sources(folder, "media.mp4")


def temp_is_empty(volume: Volume) -> bool:
    return not any((volume.root / "temp").iterdir())


def test_a_result_is_moved_into_place_and_described(volume: Volume) -> None:
    found = finished(volume, media_mp4=b"film", media_en_srt=b"words", media_jpg=b"picture")

    files = volume.publish("j1", PLACE, found)

    assert [(file.path, file.kind, file.format) for file in files] == [
        ("videos/clip.mp4", "media", "mp4"),
        ("videos/clip.en.srt", "subtitle", "srt"),
        ("videos/clip.jpg", "thumbnail", "jpg"),
    ]
    assert files[0] == File(
        "videos/clip.mp4", 4, hashlib.sha256(b"film").hexdigest(), "video/mp4", "mp4", "media"
    )
    assert (volume.root / "videos/clip.mp4").read_bytes() == b"film"


def test_two_results_never_share_a_file(volume: Volume) -> None:
    first = volume.publish("j1", PLACE, finished(volume, "j1", media_mp4=b"one"))
    second = volume.publish("j2", PLACE, finished(volume, "j2", media_mp4=b"two", media_en_srt=b"x"))

    assert [file.path for file in (*first, *second)] == [
        "videos/clip.mp4",
        "videos/clip (2).mp4",
        "videos/clip (2).en.srt",
    ]
    assert (volume.root / "videos/clip.mp4").read_bytes() == b"one"


def test_a_publication_that_never_came_to_stand_in_the_log_is_undone(volume: Volume) -> None:
    volume.publish("j1", PLACE, finished(volume))

    folder = volume.working_folder("j1")

    assert [path.name for path in folder.iterdir()] == ["media.mp4"]
    assert not (volume.root / "videos").exists()


def test_a_publication_is_undone_from_any_point_in_its_middle(volume: Volume) -> None:
    found = finished(volume, media_mp4=b"film", media_en_srt=b"words")
    volume.publish("j1", PLACE, found)
    (volume.root / "videos/clip.en.srt").rename(volume.root / "temp/job-j1/media.en.srt")

    folder = volume.working_folder("j1")

    assert sorted(path.name for path in folder.iterdir()) == ["media.en.srt", "media.mp4"]


def test_a_publication_that_breaks_in_its_middle_leaves_nothing_behind(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = finished(volume, media_mp4=b"film", media_en_srt=b"words")
    move = volume._move

    def full(source: Path, target: Path) -> None:
        if target.suffix == ".srt":
            raise OSError(errno.ENOSPC, "no space")
        move(source, target)

    monkeypatch.setattr(volume, "_move", full)
    with pytest.raises(OSError, match="no space"):
        volume.publish("j1", PLACE, found)

    assert not (volume.root / "videos").exists()
    names = [path.name for path in sorted((volume.root / "temp/job-j1").iterdir())]
    assert names == ["media.en.srt", "media.mp4"]


def test_a_closed_publication_stays(volume: Volume) -> None:
    volume.publish("j1", PLACE, finished(volume))

    volume.close_publication("j1")

    assert (volume.root / "videos/clip.mp4").is_file()
    assert temp_is_empty(volume)


def test_discarding_takes_back_what_was_published(volume: Volume) -> None:
    volume.publish("j1", PLACE, finished(volume))

    volume.discard("j1")
    volume.discard("j1")

    assert temp_is_empty(volume)
    assert not (volume.root / "videos").exists()


def test_working_folders_are_found_again(volume: Volume) -> None:
    for job_id in ("one", "two"):
        finished(volume, job_id)

    assert sorted(volume.working_folders()) == ["one", "two"]


def test_deletion_removes_empty_folders_and_nothing_else(volume: Volume) -> None:
    deep = Place("a/b/c", "clip")
    files = volume.publish("j1", deep, finished(volume))
    volume.close_publication("j1")
    (volume.root / "a/keep.txt").write_text("mine")

    volume.delete(files)
    volume.delete(files)

    assert [path.name for path in (volume.root / "a").iterdir()] == ["keep.txt"]


def test_what_was_put_aside_is_found_by_its_mark_until_it_is_removed(volume: Volume) -> None:
    stranger = volume.root / "videos/old/a.mp4"
    stranger.parent.mkdir(parents=True)
    stranger.write_bytes(b"??")
    (volume.root / "temp/swept-mine").mkdir(parents=True)

    volume.put_aside("videos/old/a.mp4", 7)

    assert not (volume.root / "videos").exists()
    assert volume.aside() == {7: {"videos/old/a.mp4": 2}}
    volume.remove_aside(7)
    assert volume.aside() == {}


def test_what_is_unfinished_or_foreign_is_no_result(volume: Volume) -> None:
    folder = volume.working_folder("j1")
    for name in ("media.mp4", "media.f1.mp4.part", "media.mp4.ytdl", "media.temp.mp4", "other.bin"):
        (folder / name).write_bytes(b"x")
    (folder / "media.lnk").symlink_to("/etc/hostname")

    assert [source.path.name for source in sources(folder, "media.mp4")] == ["media.mp4"]


def test_each_file_has_its_kind(volume: Volume) -> None:
    folder = volume.working_folder("j1")
    kinds = {
        "media.mp4": "media",
        "media-2.mp4": "media",
        "media.en.srt": "subtitle",
        "media.zh-Hans.vtt": "subtitle",
        "media.live_chat.json": "subtitle",
        "media.00-small.webp": "thumbnail",
        "media.info.json": "info_json",
        "media.comments.json": "comments",
        "media.description": "description",
        "media.chapter-012.mp4": "chapter",
    }
    for name in kinds:
        (folder / name).write_bytes(b"x")

    assert {source.path.name: source.kind for source in sources(folder, "media.mp4")} == kinds


def test_the_main_file_is_media_whatever_it_is_called(volume: Volume) -> None:
    folder = volume.working_folder("j1")
    (folder / "media.jpg").write_bytes(b"x")

    assert [source.kind for source in sources(folder, "media.jpg")] == ["media"]


def test_no_two_files_of_a_result_have_one_path(volume: Volume) -> None:
    folder = volume.working_folder("j1")
    long = "x" * 60
    for name in (
        "media.mp4",
        "media.a b.srt",
        "media.a_b.srt",
        "media.A_B.srt",
        f"media.{long}1.srt",
        f"media.{long}2.srt",
    ):
        (folder / name).write_bytes(name.encode())

    files = volume.publish("j1", PLACE, sources(folder, "media.mp4"))

    assert len({file.path.casefold() for file in files}) == 6
    assert all((volume.root / file.path).is_file() for file in files)
    assert {file.format for file in files} == {"mp4", "srt"}


def test_a_volume_that_overwrites_leaves_zeros_to_whoever_looks(tmp_path: Path) -> None:
    volume = Volume(tmp_path, overwrites=True)
    volume.prepare()
    (volume.working_folder("1") / "media.part").write_bytes(b"half")
    (tmp_path / "a.mp4").write_bytes(b"whole")
    file = File("a.mp4", 5, "", "video/mp4", "mp4", "media")

    with (tmp_path / "a.mp4").open("rb") as whole, (tmp_path / "temp/job-1/media.part").open("rb") as half:
        volume.delete([file])
        volume.discard("1")

        assert (whole.read(), half.read()) == (bytes(5), bytes(4))
    assert not (tmp_path / "a.mp4").exists()
    assert volume.working_folders() == []
