# SPDX-License-Identifier: Apache-2.0
"""A file that hangs and a disk that stalls cost what they hold up, and nothing else (A4)."""

import asyncio
import contextlib
import os
import threading
import time

import pytest

from fodc_agent.captures.orders import Captures, Origin
from fodc_agent.captures.outcomes import Failed, Order
from fodc_agent.captures.pprof import Taken
from fodc_agent.captures.quota import Quota
from fodc_agent.captures.spool import Spool
from fodc_agent.lanes import StuckError
from fodc_agent.recorder.journal import Journal
from fodc_agent.recorder.journal_records import JournaledRow
from fodc_agent.recorder.keeper import Keeper
from fodc_agent.recorder.recorder import Recorder
from fodc_agent.sources.cgroup import CgroupSource
from fodc_agent.sources.cgroup_paths import NodeCgroup
from fodc_agent.sources.configuration import ConfigurationSource
from fodc_agent.sources.node_process import NodeProcess
from fodc_agent.sources.pressure import PressureSource
from fodc_agent.sources.process import ProcessSource
from fodc_protocol.errors import Reason
from fodc_protocol.profiles import Profile

STAT = (
    "12 (banyand) S 1 1 1 0 -1 4194560 5000 0 12 0 2500 1500 0 0 20 0 33 0 5000 2000000000 25600 "
    "18446744073709551615 1 1 0 0 0 0 0 0 2143420159 0 0 0 17 3 0 0 0 0 0\n"
)
FILES = {
    "proc/stat": "btime 1700000000\n",
    "proc/12/stat": STAT,
    "proc/12/cmdline": "/banyand\0data\0",
    "proc/12/environ": "BYDB_A=1\0",
    "proc/12/io": "rchar: 1\n",
    "proc/12/cgroup": "0::/pod\n",
    "proc/pressure/memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
    "cgroup/cgroup.controllers": "memory\n",
    "cgroup/pod/cgroup.procs": "12\n",
    "cgroup/pod/memory.current": "1\n",
    "cgroup/pod/memory.stat": "anon 1\n",
}

HELD_UP_S = 4.5
"""What waits for a thing that hangs takes 5 s, the deadline of a lane."""


class Machine:
    """A fake /proc and cgroup with all sources of a node; a file may become one that hangs."""

    def __init__(self, root):
        self.root = root
        self.now_s = 0.0
        for name, text in FILES.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
        self.node = node = NodeProcess(proc=root / "proc", own_pid=1, clock=lambda: self.now_s)
        cgroup = NodeCgroup(node, root=root / "cgroup")
        made = (
            ProcessSource(node),
            CgroupSource(cgroup),
            PressureSource(cgroup),
            ConfigurationSource(None, "", node),
        )
        self.sources = {source.name: source for source in made}

    @contextlib.contextmanager
    def hanging(self, name):
        path = self.root / name
        path.unlink()
        os.mkfifo(path)
        try:
            yield
        finally:
            # Whoever opened it for reading goes on, reads nothing and ends.
            with contextlib.suppress(OSError):
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))


async def longest_silence_s(until: asyncio.Event, clock) -> float:
    longest_s = 0.0
    while not until.is_set():
        before_s = clock()
        await asyncio.sleep(0)
        longest_s = max(longest_s, clock() - before_s)
        await asyncio.sleep(0.005)
    return longest_s


@contextlib.asynccontextmanager
async def loop_that_answers(within_s: float = 5.0, clock=time.monotonic):
    over = asyncio.Event()
    watch = asyncio.create_task(longest_silence_s(over, clock))
    yield
    over.set()
    assert await watch < within_s


@pytest.mark.parametrize(
    ("file", "victim"),
    [
        ("proc/12/io", "process"),
        ("cgroup/pod/memory.stat", "cgroup"),
        ("proc/pressure/memory", "pressure"),
        ("proc/12/environ", "configuration"),
    ],
)
def test_a4_a_file_that_hangs_costs_its_own_source(tmp_path, monkeypatch, file, victim):
    monkeypatch.setattr("fodc_agent.sources.configuration._FILE_S", 20.0)
    machine = Machine(tmp_path)

    async def main():
        with machine.hanging(file):
            async with loop_that_answers():
                hung = asyncio.create_task(machine.sources.pop(victim).collect(1))
                took_s = []
                for _ in range(3):
                    begun_s = time.monotonic()
                    others = [one.collect(1) for one in machine.sources.values()]
                    readings = await asyncio.gather(*others)
                    took_s.append(time.monotonic() - begun_s)
                was_hung = not hung.done()
                hung.cancel()
                await asyncio.wait({hung})
        return readings, took_s, was_hung

    readings, took_s, was_hung = asyncio.run(main())
    assert len(readings) == 3
    assert max(took_s) < HELD_UP_S
    assert was_hung


def test_a4_an_environment_that_hangs_is_named_and_the_arguments_are_told(tmp_path):
    machine = Machine(tmp_path)

    async def main():
        with machine.hanging("proc/12/environ"):
            return await machine.sources["configuration"].collect(1)

    reading = asyncio.run(main())
    assert reading.command == ("data",)
    assert [(one.type, one.reason) for one in reading.conditions] == [("Environment", "Hung")]


def test_a4_a_search_that_hangs_leaves_the_process_that_is_known(tmp_path):
    machine = Machine(tmp_path)

    async def main():
        await machine.sources["process"].collect(1)
        machine.now_s = 100.0
        with machine.hanging("proc/12/cmdline"):
            async with loop_that_answers():
                first = await machine.sources["process"].collect(2)
                # Its thread may have begun late.
                search = machine.node._lane
                await until(lambda: time.monotonic() - search.since_s > search.timeout_s)
                begun_s = time.monotonic()
                others = [machine.sources[name].collect(3) for name in ("process", "cgroup")]
                readings = [first, *await asyncio.gather(*others)]
        return [[gap.reason for gap in one.gaps if gap.part == "process"] for one in readings], (
            time.monotonic() - begun_s
        )

    gaps, took_s = asyncio.run(main())
    assert gaps == [[], [], []]
    assert took_s < 2.5  # another search would take its 3 s


# ---- a disk that stalls -----------------------------------------------------------------------


@pytest.fixture
def stalled_sync(monkeypatch):
    """Let fsync wait until the test ends."""
    release = threading.Event()
    monkeypatch.setattr(os, "fsync", lambda _: release.wait(20))
    yield
    release.set()


class Profiler:
    async def take(self, order, part):
        await part.append(b"profile")
        return Taken(1, ())


def test_a4_a_spool_that_stalls_stops_no_source_and_its_capture_says_so(
    tmp_path, stalled_sync, monkeypatch
):
    monkeypatch.setattr("fodc_agent.captures.spool._DISK_S", 1.0)
    machine = Machine(tmp_path)
    told: asyncio.Queue = asyncio.Queue()

    async def main():
        captures = Captures(
            Profiler(),
            Spool(tmp_path / "captures"),
            Quota(max_bytes=8 << 20, max_count=9),
            origin=lambda: Origin("n", "n", "ROLE_DATA", "1", "i"),
            report=lambda command_id, outcome: told.put_nowait(outcome),
        )
        async with loop_that_answers():
            await captures.recover()
            for number in range(3):
                captures.start(Order(f"cmd-{number}", Profile.HEAP, 0, 5))
            begun_s = time.monotonic()
            for _ in range(3):
                await asyncio.gather(*(one.collect(1) for one in machine.sources.values()))
            took_s = time.monotonic() - begun_s
            outcomes = [await asyncio.wait_for(told.get(), 10) for _ in range(3)]
            await captures.aclose()
        return took_s, outcomes

    took_s, outcomes = asyncio.run(main())
    assert took_s < HELD_UP_S
    for outcome in outcomes:
        assert isinstance(outcome, Failed)
        assert outcome.reason is Reason.STORAGE_FAILED
        assert "spool: " in outcome.message


def rows_of(directory):
    journal = Journal(directory, max_bytes=8 << 20)
    entries = journal.replay(journal.earlier())
    return [one for one in entries if isinstance(one, JournaledRow)]


def restored(directory) -> Recorder:
    async def main():
        one = Recorder(budget_bytes=8 << 20, interval_s=10)
        keeper = Keeper(Journal(directory, max_bytes=8 << 20), one)
        await keeper.replay()
        await keeper.close()
        return one

    return asyncio.run(main())


def page(series: int, value: int) -> bytes:
    return b"".join(b'm{a="%d"} %d\n' % (number, value) for number in range(series))


def test_a4_a_journal_that_stalls_stops_no_recording_is_named_and_recovers(tmp_path, monkeypatch):
    monkeypatch.setattr("fodc_agent.recorder.keeper._DISK_S", 1.0)
    stalled, release = threading.Event(), threading.Event()
    write = os.write

    def slow(descriptor, data):
        if stalled.is_set():
            release.wait(20)
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", slow)

    async def main():
        one = Recorder(budget_bytes=8 << 20, interval_s=10)
        keeper = Keeper(Journal(tmp_path, max_bytes=8 << 20), one)
        await keeper.replay()
        writing = asyncio.create_task(keeper.write())
        one.record_page("node", page(50, 1), 10_000)
        async with loop_that_answers():
            await until(lambda: len(rows_of(tmp_path)) == 1)
            stalled.set()
            for at in range(2, 40):
                begun_s = time.monotonic()
                # New series come meanwhile, so the rows that are lost define columns.
                one.record_page("node", page(50 + at, at), at * 10_000)
                assert time.monotonic() - begun_s < 5
                await asyncio.sleep(0.01)
            await until(lambda: "journal: " in keeper.problem)
            stalled.clear()
            release.set()
            at = 39
            async with asyncio.timeout(10):
                while keeper.problem:
                    at += 1
                    one.record_page("node", page(100, at), at * 10_000)
                    await asyncio.sleep(0.05)
            await keeper.close()
        writing.cancel()
        return one, keeper.lost

    one, lost = asyncio.run(main())
    assert lost > 0
    last_ms = rows_of(tmp_path)[-1].at_ms
    assert last_ms >= 400_000
    again = restored(tmp_path)
    assert history(again, last_ms) == history(one, last_ms)
    assert list(history(again, last_ms).values()) == [last_ms / 10_000] * 100
    assert set(history(again, 10_000).values()) == {1.0}


def test_rows_of_one_round_are_written_in_one_piece_of_work(tmp_path):
    pieces = []

    async def main():
        one = Recorder(budget_bytes=1 << 20, interval_s=10)
        keeper = Keeper(Journal(tmp_path, max_bytes=1 << 20), one, gather_s=0.01)
        await keeper.replay()
        run = keeper._lane.run

        async def counted(call):
            pieces.append(call)
            return await run(call)

        keeper._lane.run = counted
        writing = asyncio.create_task(keeper.write())
        for at in (1, 2):
            pieces.clear()
            for source in ("node", "cgroup", "process"):
                one.record_page(source, b"a %d\n" % at, at)
            await until(lambda at=at: len(rows_of(tmp_path)) == 3 * at)
        await keeper.close()
        writing.cancel()

    asyncio.run(main())
    assert len(pieces) == 2, "the rows, and the end"
    assert [row.at_ms for row in rows_of(tmp_path)] == [1, 1, 1, 2, 2, 2]


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def history(one: Recorder, at_ms: int) -> dict:
    found = {}
    for piece in one.window(at_ms, at_ms):
        for series, value in zip(piece.series, piece.values, strict=True):
            found[series.labels] = value
    return found


def test_a4_recording_goes_on_while_an_earlier_life_is_read(tmp_path):
    wide = 6_000

    async def earlier_life():
        one = Recorder(budget_bytes=8 << 20, interval_s=10)
        keeper = Keeper(Journal(tmp_path, max_bytes=8 << 20), one)
        await keeper.replay()
        writing = asyncio.create_task(keeper.write())
        for at in range(20):
            one.record_page("node", page(wide, at), at * 10_000)
            await until(lambda: not keeper._waiting)
        await keeper.close()
        writing.cancel()

    async def main():
        one = Recorder(budget_bytes=8 << 20, interval_s=10)
        keeper = Keeper(Journal(tmp_path, max_bytes=8 << 20), one)
        writing = asyncio.create_task(keeper.write())
        # CPU time of the loop's own thread: a machine that is busy otherwise says nothing here.
        async with loop_that_answers(0.05, time.thread_time):
            replay = asyncio.create_task(keeper.replay())
            recorded = 0
            while not replay.done():
                one.record_page("other", b"x 1\n", 200_000 + recorded)
                recorded += 1
                await asyncio.sleep(0.002)
            await keeper.close()
        writing.cancel()
        return one, recorded

    asyncio.run(earlier_life())
    one, recorded = asyncio.run(main())
    assert recorded > 10
    assert set(history(one, 190_000).values()) == {19.0}
    assert len(history(one, 190_000)) == wide
    sources = {row.source for row in rows_of(tmp_path)}
    assert sources == {"node", "other"}


def test_a_folder_that_cannot_be_read_is_told_and_writing_goes_on(tmp_path, caplog):
    class Stuck(Journal):
        def earlier(self):
            raise StuckError("journal: no answer")

    async def main():
        one = Recorder(budget_bytes=1 << 20, interval_s=10)
        keeper = Keeper(Stuck(tmp_path, max_bytes=1 << 20), one)
        writing = asyncio.create_task(keeper.write())
        await keeper.replay()
        one.record_page("node", b"a 1\n", 1)
        await until(lambda: len(rows_of(tmp_path)) == 1)
        await keeper.close()
        writing.cancel()

    asyncio.run(main())
    assert "window_not_restored reason='journal: no answer'" in caplog.text
