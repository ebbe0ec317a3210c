# SPDX-License-Identifier: Apache-2.0
"""The sources at work, on virtual time: pace, sharing, deadlines, isolation, end."""

import asyncio
import gc
import importlib.util
import weakref
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fodc_agent.bus.breaker import Breaker, BreakerState
from fodc_agent.bus.coordinator import Coordinator

_spec = importlib.util.spec_from_file_location(
    "virtual_time", Path(__file__).with_name("virtual_time.py")
)
virtual_time = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(virtual_time)


class Fake:
    """A source that does what its script says: seconds to take, or an exception to raise."""

    def __init__(self, name="s", script=(0.0,), **numbers):
        self.name = name
        self.ttl_s = numbers.get("ttl_s", 5.0)
        self.timeout_s = numbers.get("timeout_s", 3.0)
        self.script = script
        self.calls: list[float] = []
        self.at_ms: list[int] = []

    async def collect(self, at_ms):
        step = self.script[min(len(self.calls), len(self.script) - 1)]
        self.calls.append(asyncio.get_running_loop().time() - 1000.0)
        self.at_ms.append(at_ms)
        if isinstance(step, BaseException):
            raise step
        await asyncio.sleep(step)
        return len(self.calls)


class Stubborn(Fake):
    """A source that swallows its cancellation and goes on for a while."""

    async def collect(self, at_ms):
        self.calls.append(asyncio.get_running_loop().time() - 1000.0)
        end = asyncio.get_running_loop().time() + 20
        while asyncio.get_running_loop().time() < end:
            try:
                await asyncio.sleep(end - asyncio.get_running_loop().time())
            except asyncio.CancelledError:
                continue
        return "late"


@asynccontextmanager
async def bus(*sources, breaker=None, jitter=0.0):
    loop = asyncio.get_running_loop()
    one = Coordinator(loop.time, lambda: int(loop.time() * 1000), jitter)
    for source in sources:
        one.add(source, breaker)
    one.kept = []
    try:
        yield one
    finally:
        async with asyncio.timeout(10):
            await one.aclose()
            await asyncio.gather(*one.kept)


def keep(one, name="s", interval_s=1.0, cost_s=0.0):
    """Collect a source and return the list that its readings go to."""
    found = []

    async def take(reading):
        found.append(reading)
        await asyncio.sleep(cost_s)

    one.kept.append(asyncio.create_task(one.keep(name, interval_s, take)))
    return found


def test_t_wd_15_a_reading_is_taken_at_once_and_then_every_interval():
    source = Fake()

    async def main():
        async with bus(source) as one:
            found = keep(one, interval_s=10.0)
            await asyncio.sleep(25)
            return [(reading.payload, reading.at_ms, reading.ok) for reading in found]

    assert virtual_time.run(main()) == [
        (1, 1_000_000, True),
        (2, 1_010_000, True),
        (3, 1_020_000, True),
    ]
    assert source.calls == [0.0, 10.0, 20.0]


def test_a14_the_first_reading_is_taken_at_once_whatever_the_jitter():
    source = Fake()

    async def main():
        async with bus(source, jitter=0.25) as one:
            keep(one, interval_s=8.0)
            await asyncio.sleep(20)

    virtual_time.run(main())
    assert source.calls == [0.0, 7.0, 15.0]


def test_it_is_at_rest_when_the_readings_of_a_round_are_carried_off_or_soon_enough():
    quick, slow = Fake("quick", (0.1,)), Fake("slow", (2.0, 7.0), timeout_s=9.0)

    async def main():
        clock = asyncio.get_running_loop().time
        at_rest_s = []
        async with bus(quick, slow) as one:
            keep(one, "quick", 10.0)
            found = keep(one, "slow", 10.0, cost_s=0.5)
            for _ in range(2):
                await asyncio.sleep(0.01)
                await one.at_rest(5.0)
                at_rest_s.append((round(clock() - 1000, 2), len(found)))
                await asyncio.sleep(1010.0 - clock())
        return at_rest_s

    assert virtual_time.run(main()) == [(2.5, 1), (15.01, 1)]


def test_sources_of_one_agent_tick_together_so_that_it_is_woken_once():
    ticks = []

    class Slow(Fake):
        async def collect(self, at_ms):
            ticks.append((self.name, asyncio.get_running_loop().time()))
            return await super().collect(at_ms)

    one, other = Slow(), Slow()
    other.name = "other"

    async def main():
        async with bus(one, other, jitter=0.5) as both:
            keep(both, interval_s=8.0)
            keep(both, "other", interval_s=8.0)
            await asyncio.sleep(20)

    virtual_time.run(main())
    assert ticks == [(name, at_s) for at_s in (1000.0, 1006.0, 1014.0) for name in ("s", "other")]


def test_ticks_during_a_long_collection_are_passed_over_and_not_queued():
    source = Fake(script=(2.5, 0.0), timeout_s=5.0)

    async def main():
        async with bus(source) as one:
            keep(one)
            await asyncio.sleep(4.5)

    virtual_time.run(main())
    assert source.calls == [0.0, 3.0, 4.0]


def test_one_who_takes_slowly_delays_its_own_source_alone():
    slow, quick = Fake("slow"), Fake("quick")

    async def main():
        async with bus(slow, quick) as one:
            keep(one, "slow", cost_s=2.5)
            keep(one, "quick")
            await asyncio.sleep(5.5)

    virtual_time.run(main())
    assert (slow.calls, quick.calls) == ([0.0, 3.0], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0])


@given(
    st.integers(1, 20),
    st.lists(st.floats(0.0, 70.0), min_size=1, max_size=30),
)
@settings(max_examples=50)
def test_every_collection_begins_on_the_grid(interval, costs):
    source = Fake(script=tuple(costs), timeout_s=1000.0)

    async def main():
        async with bus(source) as one:
            keep(one, interval_s=float(interval))
            await asyncio.sleep(sum(costs))

    virtual_time.run(main())
    assert [at % interval for at in source.calls] == [0.0] * len(source.calls)
    assert len(set(source.calls)) == len(source.calls)


class Pages(Fake):
    """A source of large readings."""

    async def collect(self, at_ms):
        await super().collect(at_ms)
        page = {"a page"}  # a dict or bytes could not be watched
        self.watched = [*getattr(self, "watched", ()), weakref.ref(page)]
        return page


@pytest.mark.parametrize(("ttl_s", "kept"), [(0.0, 0), (5.0, 1)])
def test_a_page_is_kept_by_nobody_once_it_is_taken_unless_it_is_asked_for_in_between(ttl_s, kept):
    source = Pages(ttl_s=ttl_s)

    async def main():
        async with bus(source) as one:

            async def take(reading):
                assert reading.payload == {"a page"}

            one.kept.append(asyncio.create_task(one.keep("s", 1.0, take)))
            await asyncio.sleep(2.5)
            gc.collect()
            alive = sum(watched() is not None for watched in source.watched)
            return alive, len(source.watched), one.statistics()["s"].last_ok_age_s

    assert virtual_time.run(main()) == (kept, 3, 0.5)


def test_a_source_is_collected_for_one_only():
    async def main():
        async with bus(Fake()) as one:
            keep(one)
            await asyncio.sleep(0)
            with pytest.raises(ValueError, match="source s is collected already"):
                await one.keep("s", 1.0, None)

    virtual_time.run(main())


def test_concurrent_demands_share_one_collection():
    source = Fake(script=(1.0,))

    async def main():
        async with bus(source) as one:
            readings = await asyncio.gather(*[one.demand("s") for _ in range(5)])
            return {reading.payload for reading in readings}, one.statistics()["s"]

    payloads, statistics = virtual_time.run(main())
    assert (payloads, source.calls) == ({1}, [0.0])
    assert statistics.collections_made == 1


def test_demand_takes_a_young_reading_and_refuses_an_old_one():
    source = Fake(ttl_s=5.0)

    async def main():
        async with bus(source) as one:
            found = [(await one.demand("s")).payload]
            await asyncio.sleep(4)
            found.append((await one.demand("s")).payload)
            found.append((await one.demand("s", max_age_s=1.0)).payload)
            await asyncio.sleep(6)
            found.append((await one.demand("s")).payload)
            found.append((await one.demand("s", max_age_s=0.0)).payload)
            return found

    assert virtual_time.run(main()) == [1, 1, 2, 3, 3]


def test_caller_that_leaves_does_not_stop_the_collection_of_others():
    source = Fake(script=(1.0,))

    async def main():
        async with bus(source) as one:
            first = asyncio.create_task(one.demand("s"))
            second = asyncio.create_task(one.demand("s"))
            await asyncio.sleep(0.5)
            first.cancel()
            return (await second).payload

    assert virtual_time.run(main()) == 1


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ((ValueError("bad page"),), "ValueError: bad page"),
        ((60.0,), "no answer within 3 s"),
        ((asyncio.CancelledError(),), "the collection was cancelled"),
    ],
)
def test_failure_is_a_reading_with_an_error(script, text):
    async def main():
        async with bus(Fake(script=script)) as one:
            reading = await one.demand("s")
            return reading, one.statistics()["s"]

    reading, statistics = virtual_time.run(main())
    assert (reading.payload, reading.error, reading.ok) == (None, text, False)
    assert (statistics.failures, statistics.last_error) == (1, text)


def test_slow_and_failing_sources_never_delay_another():
    good = Fake("good")

    async def main():
        bad = Fake("bad", (ValueError("no"),))
        hung = Stubborn("hung", timeout_s=3.0)
        async with bus(bad, hung, good) as one:
            for source in (bad, hung, good):
                keep(one, source.name)
            await asyncio.sleep(9.5)
            return one.statistics()

    statistics = virtual_time.run(main())
    assert good.calls == [float(at) for at in range(10)]
    assert statistics["hung"].collections_made == 1
    assert statistics["hung"].last_error == "no answer within 3 s"
    assert statistics["bad"].breaker is BreakerState.OPEN


def test_collection_that_ignores_its_deadline_is_left_alone_until_it_ends():
    source = Stubborn("s", timeout_s=3.0)

    async def main():
        async with bus(source) as one:
            first = await one.demand("s")
            second = await one.demand("s")
            await asyncio.sleep(30)
            third = await one.demand("s")
            return first.error, second.error, third.error

    first, second, third = virtual_time.run(main())
    assert first == third == "no answer within 3 s"
    assert second == "the last collection ignored its deadline and still runs"
    assert source.calls == [0.0, 33.0]


def test_breaker_leaves_a_failing_source_alone_and_tries_again():
    source = Fake(script=(*[ValueError("no")] * 4, 0.0))

    async def main():
        async with bus(source, breaker=Breaker(threshold=3, base_s=4.0)) as one:
            keep(one)
            await asyncio.sleep(2.5)
            refused = await one.demand("s", max_age_s=0.0)
            await asyncio.sleep(17)
            return refused.error, one.statistics()["s"]

    error, statistics = virtual_time.run(main())
    assert error == "left alone for 3.5 s after failures: ValueError: no"
    assert source.calls[:5] == [0.0, 1.0, 2.0, 6.0, 14.0]
    assert (statistics.breaker, statistics.failures) == (BreakerState.CLOSED, 4)


def test_aclose_ends_running_collections_and_waiting_demands():
    async def main():
        source = Fake(script=(100.0,), timeout_s=200.0)
        async with bus(source) as one:
            found = keep(one)
            demand = asyncio.create_task(one.demand("s"))
            await asyncio.sleep(0.5)
        after = await one.demand("s")
        return (await demand).error, found, after.error, asyncio.get_running_loop().time()

    error, found, after, now_s = virtual_time.run(main())
    assert (error, found) == ("the collection was cancelled", [])
    assert after == "the agent is stopping"
    assert now_s < 1003


def test_aclose_does_not_wait_for_ever_for_a_stubborn_source():
    async def main():
        loop = asyncio.get_running_loop()
        one = Coordinator(loop.time, lambda: 0, 0.0)
        one.add(Stubborn("s", timeout_s=100.0))
        demand = asyncio.create_task(one.demand("s"))
        await asyncio.sleep(1)
        before = loop.time()
        await one.aclose()
        took = loop.time() - before
        return took, (await demand).error

    took, error = virtual_time.run(main())
    assert took <= 2.1
    assert error == "the agent is stopping"


def test_unknown_and_double_names_are_clear_errors():
    async def main():
        async with bus(Fake()) as one:
            with pytest.raises(KeyError, match="no source 'x', known"):
                await one.demand("x")
            with pytest.raises(KeyError, match="no source 'x', known"):
                await one.keep("x", 1.0, None)
            with pytest.raises(ValueError, match="source s is known already"):
                one.add(Fake())
            with pytest.raises(ValueError, match="source t: timeout_s must be above 0"):
                one.add(Fake("t", timeout_s=0.0))

    virtual_time.run(main())


class Refused:
    """A payload that is a failure itself, with a figure."""

    error = "refused"
    attempts = 3


class Refusing(Fake):
    async def collect(self, at_ms):
        await super().collect(at_ms)
        return Refused()


def test_a5_a_payload_that_is_a_failure_counts_as_one_and_opens_the_breaker():
    source = Refusing()

    async def main():
        async with bus(source, breaker=Breaker(cap_s=60.0)) as one:
            found = keep(one)
            await asyncio.sleep(30)
            return found[0], one.statistics()["s"]

    first, statistics = virtual_time.run(main())
    assert (first.error, first.ok, first.payload.attempts) == ("refused", False, 3)
    assert (statistics.last_error, statistics.failures) == ("refused", len(source.calls))
    assert (statistics.last_ok_age_s, statistics.breaker) == (None, BreakerState.OPEN)
    assert len(source.calls) < 10
