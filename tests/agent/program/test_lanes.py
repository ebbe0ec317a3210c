# SPDX-License-Identifier: Apache-2.0
"""Blocking work beside the loop: in order, within its time, and hanging alone (A4)."""

import asyncio
import threading
import time

import pytest

from fodc_agent import lanes as lanes_module
from fodc_agent.lanes import LONG_S, Lane, StuckError


@pytest.fixture(autouse=True)
def no_threads_yet(monkeypatch):
    """Without those that stay for a moment after the test before."""
    monkeypatch.setattr(lanes_module, "_HANDS", lanes_module._Hands())


def test_pieces_are_done_in_their_order_in_a_thread_that_ends_a_moment_after_the_last():
    async def main():
        lane = Lane("disk")
        seen = []

        def piece(number):
            seen.append((number, threading.current_thread().name))
            return number * 2

        results = await asyncio.gather(*(lane.run(lambda n=n: piece(n)) for n in range(20)))
        deadline = asyncio.get_running_loop().time() + 5
        while any(thread.name in {"disk", "lanes"} for thread in threading.enumerate()):
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.001)
        return results, seen

    results, seen = asyncio.run(main())
    assert results == [number * 2 for number in range(20)]
    assert seen == [(number, "disk") for number in range(20)]


def test_what_a_piece_raises_is_raised_where_it_is_waited_for():
    def broken():
        raise PermissionError("not yours")

    with pytest.raises(PermissionError, match="not yours"):
        asyncio.run(Lane("disk").run(broken))


def test_a_piece_that_hangs_costs_its_own_lane_and_no_other():
    async def main():
        hung, other = Lane("hung", timeout_s=0.1), Lane("other")
        release = threading.Event()
        try:
            with pytest.raises(StuckError, match=r"^hung: no answer within 0.1 s$"):
                await hung.run(release.wait)
            while hung.since_s is None or time.monotonic() - hung.since_s <= 0.1:
                await asyncio.sleep(0.001)  # its thread may have begun late
            with pytest.raises(StuckError, match=r"^hung: what was asked \d+ s ago still hangs$"):
                hung.run(lambda: 1).send(None)  # refused before anything is waited for
            assert await other.run(lambda: 2) == 2
        finally:
            release.set()
        while True:
            try:
                return await hung.run(lambda: 3)
            except StuckError:
                await asyncio.sleep(0.001)

    assert asyncio.run(asyncio.wait_for(main(), 10)) == 3


def test_what_a_round_asks_of_several_lanes_is_done_by_one_thread(monkeypatch):
    monkeypatch.setattr("fodc_agent.lanes.LONG_S", 5.0)

    async def main():
        asked = threading.Event()

        def piece():
            asked.wait(5)
            return threading.get_ident()

        lanes = [Lane(name) for name in ("process", "cgroup", "pressure")]
        running = [asyncio.create_task(lane.run(piece)) for lane in lanes]
        asyncio.get_running_loop().call_soon(asked.set)  # when all of them have asked
        return await asyncio.gather(*running)

    assert len(set(asyncio.run(main()))) == 1


def test_the_thread_stays_for_what_is_asked_a_moment_later(monkeypatch):
    monkeypatch.setattr(lanes_module, "LONG_S", 5.0)
    monkeypatch.setattr(lanes_module, "_LINGER_S", 5.0)

    async def main():
        lanes = [Lane(name) for name in ("process", "cgroup", "pressure")]
        first = [await lane.run(threading.current_thread) for lane in lanes]
        await asyncio.sleep(0.06)
        return {*first, *[await lane.run(threading.current_thread) for lane in lanes]}

    assert len(asyncio.run(main())) == 1


def test_of_threads_that_wait_for_work_one_stays(monkeypatch):
    monkeypatch.setattr(lanes_module, "_LINGER_S", 5.0)

    async def main():
        lanes = [Lane(name) for name in ("process", "cgroup", "pressure")]
        await asyncio.gather(*(lane.run(lambda: time.sleep(3 * LONG_S)) for lane in lanes))
        async with asyncio.timeout(4):
            while len(lanes_module._HANDS._hands) > 1:
                await asyncio.sleep(0.001)
        await asyncio.sleep(2 * LONG_S)
        return sum(hand.is_idle for hand in lanes_module._HANDS._hands)

    assert asyncio.run(main()) == 1


def test_a_piece_that_is_done_is_told_although_the_next_one_of_its_thread_hangs():
    async def main():
        release = threading.Event()
        first = asyncio.create_task(Lane("quick").run(lambda: 1))
        hung = asyncio.create_task(Lane("hung").run(release.wait))
        behind = asyncio.create_task(Lane("behind").run(lambda: 2))
        try:
            return await first, await behind, hung.done()
        finally:
            release.set()
            await hung

    assert asyncio.run(asyncio.wait_for(main(), 4)) == (1, 2, False)


def test_what_a_loop_that_has_ended_left_undone_costs_the_next_one_nothing(monkeypatch):
    monkeypatch.setattr("fodc_agent.lanes.LONG_S", 5.0)
    asked, begun, release = threading.Event(), threading.Event(), threading.Event()

    def hangs():
        begun.set()
        release.wait(5)

    async def leaves():
        pieces = {"done": asked.wait, "hung": hangs}
        tasks = [asyncio.create_task(Lane(name).run(call)) for name, call in pieces.items()]
        await asyncio.sleep(0)
        asked.set()
        await asyncio.to_thread(begun.wait, 5)
        return [task.done() for task in tasks]

    async def comes():
        monkeypatch.setattr("fodc_agent.lanes.LONG_S", 0.001)
        slow = asyncio.create_task(Lane("slow").run(lambda: time.sleep(0.1)))
        return await Lane("quick").run(lambda: 2), await slow

    try:
        assert asyncio.run(leaves()) == [False, False]
        assert asyncio.run(comes()) == (2, None)
    finally:
        release.set()


def test_two_pieces_of_a_lane_are_never_done_at_the_same_time():
    async def main():
        lane, at_work, most = Lane("disk"), [], []

        def piece():
            at_work.append(1)
            most.append(len(at_work))
            time.sleep(2 * LONG_S)  # long enough that another thread is called for help
            at_work.pop()

        await asyncio.gather(*(lane.run(piece) for _ in range(3)))
        return most

    assert asyncio.run(main()) == [1, 1, 1]


def test_what_nobody_waits_for_is_done_as_well():
    async def main():
        done = threading.Event()
        Lane("disk").soon(done.set)
        return await asyncio.to_thread(done.wait, 5)

    assert asyncio.run(main())


def test_without_a_thread_a_piece_is_refused_and_the_next_one_is_done(monkeypatch):
    async def main():
        lane = Lane("disk")
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refused)
            with pytest.raises(OSError, match="disk: no more threads"):
                await lane.run(lambda: 1)
        return await lane.run(lambda: 2)

    def refused(_):
        raise RuntimeError("no more threads")

    assert asyncio.run(main()) == 2


def test_who_leaves_early_does_not_stop_a_piece_and_hears_no_more_of_it():
    async def main():
        lane = Lane("disk")
        release, done = threading.Event(), threading.Event()

        def piece():
            release.wait(5)
            done.set()
            raise OSError("nobody hears this")

        waiting = asyncio.create_task(lane.run(piece))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        release.set()
        return await lane.run(done.is_set)

    assert asyncio.run(main()) is True


def test_more_than_can_wait_is_refused():
    async def main():
        lane, release = Lane("disk"), threading.Event()
        waiting = [asyncio.create_task(lane.run(release.wait)) for _ in range(70)]
        await asyncio.sleep(0)
        release.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        return [str(one) for one in results if one is not True]

    refused = asyncio.run(main())
    assert set(refused) == {"disk: 64 pieces of work wait already"}
    assert 1 <= len(refused) <= 6


def test_a_program_ends_although_a_piece_never_comes_back():
    async def main():
        lane = Lane("hung", timeout_s=1.0)
        with pytest.raises(StuckError):
            await lane.run(never.wait)

    never = threading.Event()
    asyncio.run(asyncio.wait_for(main(), 5))
    assert [t.daemon for t in threading.enumerate() if t.name == "hung"] == [True]
    never.set()
