# SPDX-License-Identifier: Apache-2.0
"""Orders from their first moment to the proxy's last word, with a profiler that does as told."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from fodc_agent.captures.orders import Captures, Origin
from fodc_agent.captures.outcomes import Cancelled, Captured, Failed, Order, Outcome, artifact_frame
from fodc_agent.captures.pprof import Taken
from fodc_agent.captures.quota import Quota
from fodc_agent.captures.spool import Spool
from fodc_protocol.errors import BadRequestError, Reason
from fodc_protocol.link.frames import CancelMode, StartCapture
from fodc_protocol.profiles import Profile

ORIGIN = Origin("data-0", "data-0", "ROLE_DATA", "0.1.0", "inc-1")


def order(command_id: str, max_bytes: int = 100) -> Order:
    return Order(command_id, Profile.HEAP, 0.0, 30.0, max_bytes=max_bytes, request_id="req-1")


class Scripted:
    """A profiler that writes what it was given; with `held` it waits until released."""

    def __init__(self, data: bytes = b"profile", *, held: bool = False) -> None:
        self.data = data
        self.result: Taken | Failed | Exception = Taken(7, ("w",))
        self.taken: list[str] = []
        self.orders: list[Order] = []
        self.entered = asyncio.Event()
        self.release = asyncio.Event()
        if not held:
            self.release.set()

    async def take(self, wanted, part):
        self.taken.append(wanted.command_id)
        self.orders.append(wanted)
        await part.append(self.data)
        self.entered.set()
        await self.release.wait()
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


class Desk:
    """Captures over a scripted profiler, with the reports that came."""

    def __init__(self, directory: Path, profiler: Scripted, *, max_bytes=1000, max_count=10):
        self.reports: list[tuple[str, Outcome]] = []
        self.reported = asyncio.Event()
        self.clock_ms = 1000
        self.profiler = profiler
        self.captures = Captures(
            profiler,
            Spool(directory),
            Quota(max_bytes=max_bytes, max_count=max_count),
            origin=lambda: ORIGIN,
            report=self._report,
            now_ms=self._now_ms,
        )

    def _now_ms(self) -> int:
        self.clock_ms += 1
        return self.clock_ms

    def _report(self, command_id: str, outcome: Outcome) -> None:
        self.reports.append((command_id, outcome))
        self.reported.set()

    async def end_of(self, command_id: str) -> Outcome:
        while True:
            for known, outcome in self.reports:
                if known == command_id:
                    return outcome
            self.reported.clear()
            await asyncio.wait_for(self.reported.wait(), 10)


def test_an_order_ends_in_a_manifest_and_readable_bytes(tmp_path):
    async def run():
        desk = Desk(tmp_path, Scripted(b"profile"))
        await desk.captures.recover()
        desk.captures.start(order("cmd-1"))
        outcome = await desk.end_of("cmd-1")
        return outcome.manifest, await desk.captures.read("cmd-1", 3, 100), desk.captures

    made, rest, captures = asyncio.run(run())

    assert rest == b"file"
    assert (made.size_bytes, made.samples, made.warnings) == (7, 7, ("w",))
    assert made.sha256 == hashlib.sha256(b"profile").hexdigest()
    assert (made.node, made.request_id, made.profile) == ("data-0", "req-1", "heap")
    assert (captures.artifact_count, captures.artifact_bytes, captures.active()) == (1, 7, [])
    assert artifact_frame(made).sha256 == made.sha256


def test_the_same_order_twice_is_taken_once_and_reported_twice(tmp_path):
    async def run():
        desk = Desk(tmp_path, Scripted())
        await desk.captures.recover()
        desk.captures.start(order("cmd-1"))
        desk.captures.start(order("cmd-1"))
        await desk.end_of("cmd-1")
        desk.captures.start(order("cmd-1"))
        return desk

    desk = asyncio.run(run())

    assert desk.profiler.taken == ["cmd-1"]
    assert [command_id for command_id, _ in desk.reports] == ["cmd-1", "cmd-1"]


def test_an_order_comes_as_a_frame_and_is_held_to_the_agents_own_limit(tmp_path):
    async def run():
        desk = Desk(tmp_path, Scripted(), max_bytes=500)
        await desk.captures.recover()
        desk.captures.begin(StartCapture("cmd-1", "heap", 0, 0, max_bytes=1 << 40))
        await desk.end_of("cmd-1")
        with pytest.raises(BadRequestError, match="Magic!"):
            desk.captures.begin(StartCapture("cmd-2", "Magic!", 0, 0))
        return desk.profiler.orders

    [taken] = asyncio.run(run())

    assert (taken.profile, taken.max_bytes) == (Profile.HEAP, 500)


def test_a_capture_of_its_own_that_the_agent_has_lost_is_not_taken_anew(tmp_path):
    """The proxy asks for what was captured before a kill: what is there now is something else."""

    async def run():
        desk = Desk(tmp_path, Scripted())
        await desk.captures.recover()
        desk.captures.start(order("own-1"))
        await desk.end_of("own-1")
        desk.captures.begin(StartCapture("own-1", "heap", 0, 0))
        desk.captures.begin(StartCapture("own-2", "heap", 0, 0))
        return desk

    desk = asyncio.run(run())

    assert desk.profiler.taken == ["own-1"]
    first, again, lost = (outcome for _, outcome in desk.reports)
    assert first == again
    assert lost == Failed(Reason.NOT_FOUND, "the agent does not hold this capture any more")


def test_a_failure_is_held_until_it_is_forgotten(tmp_path):
    async def run():
        profiler = Scripted()
        profiler.result = Failed(Reason.NODE_HUNG, "no answer")
        desk = Desk(tmp_path, profiler)
        await desk.captures.recover()
        desk.captures.start(order("cmd-1"))
        outcome = await desk.end_of("cmd-1")
        held = [item.command_id for item in desk.captures.held]
        await desk.captures.forget("cmd-1")
        return outcome, held, desk.captures.held

    assert asyncio.run(run()) == (Failed(Reason.NODE_HUNG, "no answer"), ["cmd-1"], [])
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_outcome(tmp_path):
    async def run():
        profiler = Scripted()
        profiler.result = OSError(28, "No space left on device")
        desk = Desk(tmp_path, profiler)
        await desk.captures.recover()
        desk.captures.start(order("cmd-1"))
        return await desk.end_of("cmd-1")

    outcome = asyncio.run(run())

    assert outcome.reason is Reason.STORAGE_FAILED
    assert "No space left on device" in outcome.message
    assert [path.name for path in tmp_path.iterdir()] == ["cmd-1.fodc-state"]


def test_a_fault_of_the_program_is_an_outcome_and_not_silence(tmp_path):
    async def run():
        profiler = Scripted()
        profiler.result = RuntimeError("surprise")
        desk = Desk(tmp_path, profiler)
        await desk.captures.recover()
        desk.captures.start(order("cmd-1"))
        return await desk.end_of("cmd-1")

    assert asyncio.run(run()).reason is Reason.INTERNAL


def cancelled_with(mode: CancelMode, directory: Path, *, before_it_starts: bool):
    async def run():
        desk = Desk(directory, Scripted(held=True))
        await desk.captures.recover()
        desk.captures.start(order("cmd-1"))
        if not before_it_starts:
            await desk.profiler.entered.wait()
        assert desk.captures.cancel("cmd-1", mode)
        assert not desk.captures.cancel("cmd-1", mode)
        outcome = await desk.end_of("cmd-1")
        return outcome, desk.captures.active()

    return asyncio.run(run())


def test_an_abort_ends_and_discards(tmp_path):
    outcome, active = cancelled_with(CancelMode.ABORT, tmp_path, before_it_starts=False)

    assert isinstance(outcome, Cancelled)
    assert outcome.reason is Reason.ABORTED
    assert active == []
    assert [path.name for path in tmp_path.iterdir()] == ["cmd-1.fodc-state"]


def test_a_stop_says_that_a_profile_cannot_be_kept(tmp_path):
    outcome, _ = cancelled_with(CancelMode.STOP, tmp_path, before_it_starts=False)

    assert outcome.reason is Reason.CANCELLED
    assert "cannot be kept" in outcome.message


def test_an_order_that_is_aborted_in_its_first_moment_still_ends(tmp_path):
    outcome, _ = cancelled_with(CancelMode.ABORT, tmp_path, before_it_starts=True)

    assert outcome.reason is Reason.ABORTED


def test_cancel_of_an_unknown_order_says_no(tmp_path):
    async def run():
        desk = Desk(tmp_path, Scripted())
        await desk.captures.recover()
        return desk.captures.cancel("cmd-9", CancelMode.ABORT)

    assert asyncio.run(run()) is False


def test_an_agent_that_ends_leaves_a_failed_order_for_the_next_one(tmp_path):
    async def run():
        desk = Desk(tmp_path, Scripted(held=True))
        await desk.captures.recover()
        desk.captures.start(order("cmd-1"))
        await desk.profiler.entered.wait()
        await desk.captures.aclose()
        return await Desk(tmp_path, Scripted()).captures.recover()

    [held] = asyncio.run(run())

    assert (held.command_id, held.outcome.reason) == ("cmd-1", Reason.AGENT_RESTARTED)


@pytest.mark.parametrize("of", ["cmd-1", "cmd-9"])
def test_an_order_that_is_noted_is_known_to_a_life_after_a_kill(tmp_path, of):
    async def run():
        desk = Desk(tmp_path, Scripted(held=True))
        await desk.captures.recover()
        desk.captures.start(order("cmd-1"))
        await desk.captures.noted(of)
        has_begun = desk.profiler.entered.is_set()
        known = await Desk(tmp_path, Scripted()).captures.recover() if of == "cmd-1" else []
        await desk.captures.aclose()
        return has_begun, [(one.command_id, one.outcome.reason) for one in known]

    has_begun, known = asyncio.run(run())

    assert has_begun is False
    assert known == ([("cmd-1", Reason.AGENT_RESTARTED)] if of == "cmd-1" else [])


def test_an_agent_that_ends_lets_nobody_wait_for_the_note_of_an_order(tmp_path):
    async def run():
        desk = Desk(tmp_path, Scripted())
        await desk.captures.recover()
        desk.captures.start(order("cmd-1"))
        waiting = asyncio.create_task(desk.captures.noted("cmd-1"))
        await desk.captures.aclose()
        await asyncio.wait_for(waiting, 10)

    asyncio.run(run())


def test_an_order_that_is_refused_does_not_let_wait_who_waits_for_its_note(tmp_path):
    async def run():
        desk = Desk(tmp_path, Scripted(), max_bytes=1)
        await desk.captures.recover()
        desk.captures.start(order("cmd-1"))
        await asyncio.wait_for(desk.captures.noted("cmd-1"), 10)
        return await desk.end_of("cmd-1")

    assert asyncio.run(run()).reason is Reason.QUOTA_EXCEEDED


def test_a_result_is_there_after_a_restart(tmp_path):
    async def run():
        desk = Desk(tmp_path, Scripted(b"profile"))
        await desk.captures.recover()
        desk.captures.start(order("cmd-1"))
        await desk.end_of("cmd-1")
        after = Desk(tmp_path, Scripted())
        held = await after.captures.recover()
        after.captures.start(order("cmd-1"))
        return held, after.reports, await after.captures.read("cmd-1", 0, 100)

    held, reports, data = asyncio.run(run())

    assert [item.command_id for item in held] == ["cmd-1"]
    assert isinstance(reports[0][1], Captured)
    assert data == b"profile"


def test_the_oldest_result_makes_room_and_its_owner_hears_of_it(tmp_path):
    async def run():
        desk = Desk(tmp_path, Scripted(b"x" * 60), max_bytes=150)
        await desk.captures.recover()
        for name in ("cmd-1", "cmd-2"):
            desk.captures.start(order(name, max_bytes=90))
            await desk.end_of(name)
        desk.captures.start(order("cmd-3", max_bytes=90))
        await desk.end_of("cmd-3")
        return desk

    desk = asyncio.run(run())

    assert [item.command_id for item in desk.captures.held] == ["cmd-2", "cmd-3"]
    evicted = [outcome for name, outcome in desk.reports if name == "cmd-1"][-1]
    assert evicted.reason is Reason.QUOTA_EXCEEDED


def test_an_order_is_refused_when_what_is_being_sent_fills_the_quota(tmp_path):
    async def run():
        desk = Desk(tmp_path, Scripted(b"x" * 60), max_bytes=100)
        await desk.captures.recover()
        desk.captures.start(order("cmd-1"))
        await desk.end_of("cmd-1")
        await desk.captures.read("cmd-1", 0, 10)
        desk.captures.start(order("cmd-2"))
        refused = await desk.end_of("cmd-2")
        desk.clock_ms += 60_000
        desk.captures.start(order("cmd-3"))
        return refused, await desk.end_of("cmd-3"), desk.captures.held

    refused, admitted, held = asyncio.run(run())

    assert refused.reason is Reason.QUOTA_EXCEEDED
    assert isinstance(admitted, Captured)
    assert [item.command_id for item in held] == ["cmd-3"]


def test_no_more_than_four_captures_run_at_a_time(tmp_path):
    async def run():
        desk = Desk(tmp_path, Scripted(held=True))
        await desk.captures.recover()
        for number in range(5):
            desk.captures.start(order(f"cmd-{number}"))
        refused = await desk.end_of("cmd-4")
        desk.profiler.release.set()
        others = [await desk.end_of(f"cmd-{number}") for number in range(4)]
        return refused, others

    refused, others = asyncio.run(run())

    assert refused.reason is Reason.BUSY
    assert all(isinstance(outcome, Captured) for outcome in others)


# ---- room (A8) --------------------------------------------------------------------------------


def test_four_small_captures_do_not_evict_a_result_that_nobody_fetched(tmp_path):
    """A8: each was promised 64 MiB, so four of them filled the quota."""

    async def run():
        desk = Desk(tmp_path, Scripted(b"x" * 4096), max_bytes=256 << 20)
        await desk.captures.recover()
        desk.captures.start(order("first", 64 << 20))
        await desk.end_of("first")
        desk.profiler.release.clear()
        for number in range(4):
            desk.captures.start(order(f"cmd-{number}", 64 << 20))
        await asyncio.sleep(0)
        desk.profiler.release.set()
        for number in range(4):
            await desk.end_of(f"cmd-{number}")
        return desk

    desk = asyncio.run(run())

    assert desk.captures.artifact_count == 5
    assert len(desk.reports) == 5


def test_four_captures_run_at_once_in_a_small_quota(tmp_path):
    """A8: with the quota shared by three targets a second capture was refused."""

    async def run():
        desk = Desk(tmp_path, Scripted(b"x" * 4096, held=True), max_bytes=40 << 20)
        await desk.captures.recover()
        for number in range(4):
            desk.captures.start(order(f"cmd-{number}", 64 << 20))
        running = len(desk.captures.active())
        desk.profiler.release.set()
        return running, [await desk.end_of(f"cmd-{number}") for number in range(4)]

    running, ends = asyncio.run(run())

    assert running == 4
    assert all(isinstance(end, Captured) for end in ends)


def test_a_capture_that_needs_more_than_promised_gets_room_while_it_grows(tmp_path):
    async def run():
        desk = Desk(tmp_path, Scripted(b"x" * 700_000), max_bytes=1_000_000)
        await desk.captures.recover()
        desk.captures.start(order("cmd-1", 64 << 20))
        first = await desk.end_of("cmd-1")
        desk.captures.start(order("cmd-2", 64 << 20))
        second = await desk.end_of("cmd-2")
        await desk.captures.aclose()
        return first, second, [name for name, _ in desk.reports], sorted(tmp_path.iterdir())

    first, second, names, files = asyncio.run(run())

    assert isinstance(first, Captured)
    assert isinstance(second, Captured)
    assert names.count("cmd-1") == 2, "the first one went, and whoever waits for it was told"
    assert not any("cmd-1" in path.name for path in files)


def test_a_capture_that_finds_no_room_while_it_grows_fails_and_leaves_no_bytes(tmp_path):
    async def run():
        desk = Desk(tmp_path, Scripted(b"x" * 1_100_000), max_bytes=1_000_000)
        await desk.captures.recover()
        desk.captures.start(order("cmd-1", 64 << 20))
        return await desk.end_of("cmd-1"), desk.captures.artifact_bytes, list(tmp_path.iterdir())

    end, held_bytes, files = asyncio.run(run())

    assert end.reason is Reason.QUOTA_EXCEEDED
    assert "there is no room for more" in end.message
    assert held_bytes == 0
    assert [path.suffix for path in files] == [".fodc-state"]
