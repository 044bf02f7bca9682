"""Batches on the memory log: what is listed, what is submitted when, and how the whole ends."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.actors.world import GOOD, Hang, Pause, World, running
from tests.domain.builders import NETWORK, PRIVATE
from tests.virtual import run_virtual
from umd.domain import commands as c
from umd.domain.batch import BatchState, child_id
from umd.domain.events import ListedItem, Tally
from umd.domain.job import FINAL, State
from umd.domain.options import (
    BatchDownloadRequest,
    ChannelDownloadRequest,
    PlaylistDownloadRequest,
)
from umd.engine.protocol import Finished, Listed, ListingFailed
from umd.errors import InvalidState, QueueFull, StorageFull
from umd.log import Record
from umd.log.memory import MemoryLog
from umd.settings import Settings

LIST = "https://example.com/list"
WIDE = Settings(max_concurrent_downloads=20, max_concurrent_per_site=20)


def url(number: int) -> str:
    return f"https://example.com/{number}"


def item(number: int, **known: object) -> ListedItem:
    about = {"id": f"v{number}", "title": f"Video {number}", "extractor": "site", **known}
    return ListedItem(url(number), number, **about)  # type: ignore[arg-type]


def pages(count: int, size: int = 100, **known: object) -> list[Listed | ListingFailed | Pause]:
    items = [item(number, **known) for number in range(1, count + 1)]
    return [Listed(tuple(items[at : at + size]), "A list") for at in range(0, count, size)]


def playlist(**fields: object) -> PlaylistDownloadRequest:
    return PlaylistDownloadRequest(url=LIST, **fields)  # type: ignore[arg-type]


def channel(**fields: object) -> ChannelDownloadRequest:
    return ChannelDownloadRequest(url=LIST, **fields)  # type: ignore[arg-type]


def addresses(count: int, **fields: object) -> BatchDownloadRequest:
    return BatchDownloadRequest(urls=tuple(map(url, range(1, count + 1))), **fields)  # type: ignore[arg-type]


def started(world: World) -> list[str]:
    return [assignment.url for assignment in world.engine.started]


def chosen(world: World, batch_id: str) -> list[int]:
    return [one.item.index for one in world.batch(batch_id).items]


def types(world: World, batch_id: str) -> list[str]:
    return [
        record.type
        for record in world.log.records
        if record.stream == f"batch-{batch_id}" and record.kind == "event"
    ]


def test_a_batch_of_addresses_downloads_each(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as world:
            batch_id = await world.submit_batch(addresses(5))
            batch = await world.batch_end(batch_id)

            assert (batch.state, batch.tally) == (BatchState.COMPLETED, Tally(completed=5))
            assert sorted(started(world)) == [url(number) for number in range(1, 6)]
            assert types(world, batch_id) == [
                "batch.queued",
                "batch.listed",
                "batch.expanded",
                "batch.started",
                "batch.completed",
            ]

    run_virtual(main())


def test_no_more_jobs_are_under_way_than_the_limit_says(tmp_path: Path) -> None:
    async def main() -> None:
        def slow(world: World) -> None:
            world.engine.scripts = {url(number): [(Pause(10), *GOOD)] for number in range(1, 13)}

        async with running(tmp_path, WIDE, prepare=slow) as world:
            most = 0

            def watch(_: object) -> None:
                nonlocal most
                most = max(most, sum(world.jobs.count(state) for state in (State.QUEUED, State.RUNNING)))

            world.log.follow(watch)
            batch_id = await world.submit_batch(addresses(12, concurrent_limit=4))
            await world.batch_end(batch_id)

            assert most == 4

    run_virtual(main())


def test_a_long_playlist_leaves_the_queue_to_others(tmp_path: Path) -> None:
    async def main() -> None:
        settings = Settings(max_concurrent_downloads=4, max_concurrent_per_site=4, queue_max=5)
        async with running(tmp_path, settings) as world:
            world.lister.lists[LIST] = pages(300)
            batch_id = await world.submit_batch(playlist(concurrent_limit=10))
            batch = await world.batch_end(batch_id)

            assert batch.tally == Tally(completed=300)

    run_virtual(main())


def test_children_know_their_place_in_the_playlist(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as world:
            world.lister.lists[LIST] = pages(2)
            batch_id = await world.submit_batch(playlist())
            batch = await world.batch_end(batch_id)
            second = world.jobs.require(batch.items[1].job_id).job

            assert batch.title == "A list"
            assert second.files[0].path == "playlists/A list/002-A_title.mp4"
            assert second.metadata is not None
            assert (second.metadata.playlist, second.metadata.playlist_index) == ("A list", 2)
            assert second.batch_id == batch_id

    run_virtual(main())


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"items": "2-3,7"}, [2, 3, 7]),
        ({"items": "7,2-3"}, [7, 2, 3]),
        ({"items": "-2:"}, [9, 10]),
        ({"items": "::-3"}, [10, 7, 4, 1]),
        ({"items": "1:8:3"}, [1, 4, 7]),
        ({"start": 9}, [9, 10]),
        ({"end": 2}, [1, 2]),
        ({"start": 4, "end": 6, "reverse_playlist": True}, [6, 5, 4]),
        ({"item_ids": ("v5", "v2")}, [2, 5]),
        ({"items": "50-60"}, []),
    ],
)
def test_a_playlist_takes_what_was_chosen(
    tmp_path: Path, fields: dict[str, object], expected: list[int]
) -> None:
    async def main() -> None:
        async with running(tmp_path) as world:
            world.lister.lists[LIST] = pages(10, size=4)
            batch_id = await world.submit_batch(playlist(**fields))
            batch = await world.batch_end(batch_id)

            assert chosen(world, batch_id) == expected
            assert batch.state is BatchState.COMPLETED

    run_virtual(main())


def test_no_more_of_a_list_is_read_than_can_be_wanted(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as world:
            world.lister.lists[LIST] = pages(500)
            batch_id = await world.submit_batch(playlist(items="2,5"))
            await world.batch_end(batch_id)

            assert world.lister.asked == [(LIST, 5)]

    run_virtual(main())


def test_downloads_begin_before_the_list_is_read_to_its_end(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as world:
            world.lister.lists[LIST] = [*pages(3), Pause(500), Listed((item(4),), "A list")]
            batch_id = await world.submit_batch(playlist())
            await world.batches.when(batch_id, lambda batch: len(batch.items) == 3)
            first = world.batch(batch_id).items[0].job_id
            await world.known(first)
            await world.until(first, State.COMPLETED)

            assert world.batch(batch_id).state is BatchState.EXPANDING
            assert (await world.batch_end(batch_id)).tally == Tally(completed=4)

    run_virtual(main())


def test_an_item_that_is_listed_twice_is_downloaded_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as world:
            world.lister.lists[LIST] = [Listed((item(1), item(2), item(1)), "A list")]
            batch = await world.batch_end(await world.submit_batch(playlist()))

            assert batch.tally == Tally(completed=2)

    run_virtual(main())


def test_a_channel_filters_sorts_and_looks_up_what_its_list_does_not_tell(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as world:
            bare = [ListedItem(url(number), number, f"v{number}", "t", "site") for number in range(1, 7)]
            world.lister.lists[LIST] = [Listed((*bare, item(7, duration=5.0, view_count=9)), "A channel")]
            world.lister.pages = {
                url(number): item(number, duration=10.0 * number, view_count=100 - number)
                for number in range(1, 6)
            }
            request = channel(min_duration=20, max_views=98, sort_by="duration", max_downloads=3)
            batch_id = await world.submit_batch(request)
            await world.batch_end(batch_id)

            assert chosen(world, batch_id) == [5, 4, 3]
            assert len(world.lister.looked_up) == 6, "what fails a filter already is not looked up"

    run_virtual(main())


def test_a_channel_without_dates_keeps_its_own_order_and_asks_for_nothing_more(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as world:
            world.lister.lists[LIST] = pages(5)
            newest = await world.submit_batch(channel(max_downloads=2))
            oldest = await world.submit_batch(channel(max_downloads=2, sort_order="asc"))
            await world.batch_end(newest)
            await world.batch_end(oldest)

            assert chosen(world, newest) == [1, 2]
            assert chosen(world, oldest) == [5, 4]
            assert world.lister.looked_up == []

    run_virtual(main())


def test_what_was_downloaded_is_skipped_until_its_files_are_gone(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as world:
            world.lister.lists[LIST] = pages(2)
            earlier = (await world.batch_end(await world.submit_batch(playlist()))).items
            again = await world.batch_end(await world.submit_batch(playlist()))
            other = await world.batch_end(await world.submit_batch(playlist(audio_only=True)))
            wanted = await world.batch_end(await world.submit_batch(playlist(skip_downloaded=False)))
            for one in (*earlier, *wanted.items):
                await world.jobs.when(one.job_id, lambda job: job.files_deleted_at is not None)
            late = await world.batch_end(await world.submit_batch(playlist()))

            assert (again.state, again.tally) == (BatchState.COMPLETED, Tally(skipped=2))
            assert [one.job_id for one in again.items] == [one.job_id for one in earlier]
            assert other.tally == wanted.tally == late.tally == Tally(completed=2)

    run_virtual(main())


def test_what_another_owner_has_downloaded_is_not_skipped(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as world:
            world.lister.lists[LIST] = pages(2)
            theirs = await world.batch_end(await world.submit_batch(playlist(), owner="alice"))
            mine = await world.batch_end(await world.submit_batch(playlist(), owner="bob"))

            assert mine.tally == theirs.tally == Tally(completed=2)
            assert {world.jobs.require(one.job_id).job.owner for one in mine.items} == {"bob"}

    run_virtual(main())


def test_failed_items_are_ignored_unless_they_are_not_to_be(tmp_path: Path) -> None:
    async def main() -> None:
        def failing(world: World) -> None:
            world.engine.scripts[url(2)] = [(Finished(PRIVATE),)]

        async with running(tmp_path, prepare=failing) as world:
            lenient = await world.batch_end(await world.submit_batch(addresses(3)))
            strict = await world.batch_end(await world.submit_batch(addresses(3, ignore_errors=False)))

            assert (lenient.state, lenient.error) == (BatchState.COMPLETED, None)
            assert lenient.tally == strict.tally == Tally(completed=2, failed=1)
            assert strict.state is BatchState.FAILED
            assert strict.error is not None
            assert strict.error.code == "private"

    run_virtual(main())


def test_stop_on_error_ends_what_runs_and_starts_nothing_more(tmp_path: Path) -> None:
    async def main() -> None:
        def failing(world: World) -> None:
            world.engine.scripts[url(1)] = [(Pause(5), Finished(PRIVATE)), GOOD]
            world.engine.scripts[url(2)] = [(Hang(),), GOOD]

        async with running(tmp_path, prepare=failing) as world:
            batch_id = await world.submit_batch(addresses(5, stop_on_error=True, concurrent_limit=2))
            batch = await world.batch_end(batch_id)

            assert batch.state is BatchState.FAILED
            assert batch.tally == Tally(failed=1, cancelled=4)
            assert len(started(world)) == 2

            await world.dispatcher.execute_batch(c.RetryBatch(batch_id))
            assert (await world.batch_end(batch_id)).tally == Tally(completed=5)

    run_virtual(main())


def test_cancel_ends_jobs_and_the_reading_of_the_list(tmp_path: Path) -> None:
    async def main() -> None:
        def hanging(world: World) -> None:
            world.engine.scripts = {url(number): [(Hang(),), GOOD] for number in range(1, 6)}
            world.lister.lists[LIST] = [*pages(5), Pause(10_000)]

        async with running(tmp_path, prepare=hanging) as world:
            batch_id = await world.submit_batch(playlist())
            await world.batches.when(batch_id, lambda batch: len(batch.items) == 5)
            for one in world.batch(batch_id).items[:3]:
                await world.known(one.job_id)
                await world.until(one.job_id, State.RUNNING)
            await world.dispatcher.execute_batch(c.CancelBatch(batch_id))
            batch = await world.batch_end(batch_id)

            assert (batch.state, batch.tally) == (BatchState.CANCELLED, Tally(cancelled=5))
            assert world.lister.reading == 0
            assert world.jobs.count(State.CANCELLED) == 3

            world.lister.lists[LIST] = pages(6)
            await world.dispatcher.execute_batch(c.RetryBatch(batch_id))
            assert (await world.batch_end(batch_id)).tally == Tally(completed=6)

    run_virtual(main())


def test_retry_takes_up_what_failed_and_leaves_the_rest(tmp_path: Path) -> None:
    async def main() -> None:
        def failing(world: World) -> None:
            world.engine.scripts[url(2)] = [(Finished(PRIVATE),), GOOD]

        async with running(tmp_path, prepare=failing) as world:
            batch_id = await world.submit_batch(addresses(3))
            await world.batch_end(batch_id)
            await world.dispatcher.execute_batch(c.RetryBatch(batch_id))
            batch = await world.batch_end(batch_id)

            assert batch.tally == Tally(completed=3)
            assert started(world).count(url(2)) == 2
            assert len(started(world)) == 4
            with pytest.raises(InvalidState):
                await world.dispatcher.execute_batch(c.RetryBatch(batch_id))

    run_virtual(main())


def test_a_list_that_fails_for_a_moment_is_read_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as world:
            world.lister.lists[LIST] = [*pages(2), ListingFailed(NETWORK), Listed((item(3),), "A list")]
            batch = await world.batch_end(await world.submit_batch(playlist()))

            assert batch.tally == Tally(completed=3)
            assert len(world.lister.asked) == 2

    run_virtual(main())


def test_a_list_that_cannot_be_read_fails_the_batch_and_a_retry_reads_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as world:
            world.lister.lists[LIST] = [ListingFailed(PRIVATE), *pages(2)]
            batch_id = await world.submit_batch(playlist())
            batch = await world.batch_end(batch_id)

            assert (batch.state, batch.error) == (BatchState.FAILED, PRIVATE)

            await world.dispatcher.execute_batch(c.RetryBatch(batch_id))
            assert (await world.batch_end(batch_id)).tally == Tally(completed=2)

    run_virtual(main())


@pytest.mark.parametrize("appends", range(1, 40, 2))
def test_a_crash_after_any_append_doubles_and_loses_nothing(tmp_path: Path, appends: int) -> None:
    async def first() -> list[Record]:
        async with running(tmp_path / "a", WIDE) as world:
            world.lister.lists[LIST] = pages(7, size=3)
            await world.batch_end(await world.submit_batch(playlist()))
            return list(world.log.records)

    async def second(records: list[Record]) -> None:
        begins = [place for place, record in enumerate(records) if record.kind == "command"]
        log = MemoryLog(records[: begins[appends]])
        async with running(tmp_path / "b", WIDE, log, prepare=_lists) as world:
            [batch_id] = world.batches.active()
            batch = await world.batch_end(batch_id)

            assert batch.tally == Tally(completed=7)
            assert [one.job_id for one in batch.items] == [
                child_id(batch_id, item(number)) for number in range(1, 8)
            ]
            assert world.jobs.count(*FINAL) == world.jobs.count(State.COMPLETED) == 7

    def _lists(world: World) -> None:
        world.lister.lists[LIST] = pages(7, size=3)

    run_virtual(second(run_virtual(first())))


def test_what_is_retried_while_the_volume_is_full_counts_when_the_batch_ends(tmp_path: Path) -> None:
    """What a client sees of the whole is the sum of what it sees of its downloads."""

    async def main() -> None:
        full, has_room = asyncio.Event(), asyncio.Event()

        class FullLog(MemoryLog):
            async def _store(self, records: Sequence[Record]) -> None:
                if not has_room.is_set() and any(record.type == "EndBatch" for record in records):
                    full.set()
                    raise StorageFull("no space")
                await super()._store(records)

        def fail_once(world: World) -> None:
            world.engine.scripts[url(2)] = [(Finished(PRIVATE),), (Pause(5), *GOOD)]

        async with running(tmp_path, log=FullLog(), prepare=fail_once) as world:
            batch_id = await world.submit_batch(addresses(2))
            await full.wait()
            [failed] = world.jobs.in_state(State.FAILED)
            await world.dispatcher.execute(c.RetryDownload(failed.job.job_id))
            has_room.set()
            await world.until(failed.job.job_id, State.COMPLETED)
            batch = await world.batch_end(batch_id)

            assert (batch.state, batch.tally) == (BatchState.COMPLETED, Tally(completed=2))

    run_virtual(main())


def test_a_cancel_is_carried_out_after_a_restart(tmp_path: Path) -> None:
    async def first() -> list[Record]:
        def hanging(world: World) -> None:
            world.engine.scripts = {url(number): [(Hang(),)] for number in range(1, 4)}

        async with running(tmp_path, prepare=hanging) as world:
            batch_id = await world.submit_batch(addresses(3))
            for one in world.batch(batch_id).items:
                await world.known(one.job_id)
                await world.until(one.job_id, State.RUNNING)
            await world.dispatcher.execute_batch(c.CancelBatch(batch_id))
            return list(world.log.records)

    async def second(records: list[Record]) -> None:
        stopping = [record.type for record in records].index("batch.stopping") + 1
        async with running(tmp_path, log=MemoryLog(records[:stopping])) as world:
            [batch_id] = world.batches.active()
            batch = await world.batch_end(batch_id)

            assert (batch.state, batch.tally) == (BatchState.CANCELLED, Tally(cancelled=3))

    run_virtual(second(run_virtual(first())))


def test_a_paused_job_holds_the_batch_open_but_no_place(tmp_path: Path) -> None:
    async def main() -> None:
        def hanging(world: World) -> None:
            world.engine.scripts[url(1)] = [(Hang(),), GOOD]

        async with running(tmp_path, prepare=hanging) as world:
            batch_id = await world.submit_batch(addresses(3, concurrent_limit=1))
            first, _, last = (one.job_id for one in world.batch(batch_id).items)
            await world.known(first)
            await world.until(first, State.RUNNING)
            await world.dispatcher.execute(c.PauseDownload(first))
            await world.known(last)
            await world.until(last, State.COMPLETED)
            assert world.batch(batch_id).state is BatchState.RUNNING
            await world.dispatcher.execute(c.ResumeDownload(first))

            assert (await world.batch_end(batch_id)).tally == Tally(completed=3)

    run_virtual(main())


def test_there_are_only_so_many_batches_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, Settings(batches_max=1)) as world:
            first = await world.submit_batch(addresses(1))
            with pytest.raises(QueueFull):
                await world.submit_batch(addresses(1))
            await world.batch_end(first)

            await world.batch_end(await world.submit_batch(addresses(1)))

    run_virtual(main())


def test_metadata_of_the_page_wins_over_that_of_the_list(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as world:
            world.lister.lists[LIST] = [Listed((item(1, uploader="The list's"),), "A list")]
            batch = await world.batch_end(await world.submit_batch(channel()))
            metadata = world.jobs.require(batch.items[0].job_id).job.metadata

            assert metadata is not None
            assert metadata.uploader == "The list's"
            assert metadata.title == "A title"

    run_virtual(main())


def test_items_that_a_client_may_not_ask_for_are_left_out(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, Settings(blocked_domains="bad.example")) as world:
            inner = ListedItem("http://127.0.0.1/admin", 1)
            blocked = ListedItem("https://media.bad.example/x", 2)
            world.lister.lists[LIST] = [Listed((inner, blocked, item(3)), "A list")]
            playlist_id = await world.submit_batch(playlist())
            channel_id = await world.submit_batch(channel())

            for batch_id in (playlist_id, channel_id):
                batch = await world.batch_end(batch_id)
                assert [one.item.index for one in batch.items] == [3]
                assert batch.left_out == 2

    run_virtual(main())
