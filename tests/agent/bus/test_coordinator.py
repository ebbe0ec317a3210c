# SPDX-License-Identifier: Apache-2.0
"""The bus at work, on virtual time: sharing, deadlines, isolation, shutdown (T-WD by outcome)."""

import asyncio
import importlib.util
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fodc_agent.bus.breaker import Breaker, BreakerState
from fodc_agent.bus.coordinator import Coordinator
from fodc_agent.bus.mailbox import Policy
from fodc_agent.bus.timetable import Tier

_spec = importlib.util.spec_from_file_location(
    "virtual_time", Path(__file__).with_name("virtual_time.py")
)
virtual_time = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(virtual_time)


class Fake:
    """A source that does what its script says: seconds to take, or an exception to raise."""

    def __init__(self, name="s", script=(0.0,), **numbers):
        self.name = name
        self.tier = Tier.NORMAL
        self.floor_s = numbers.get("floor_s", 0.0)
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
async def bus(*sources, breaker=None):
    loop = asyncio.get_running_loop()
    one = Coordinator(loop.time, lambda: int(loop.time() * 1000), lambda: 0.0)
    for source in sources:
        one.add(source, breaker)
    runner = asyncio.create_task(one.run(), name="bus")
    try:
        yield one
    finally:
        async with asyncio.timeout(10):
            await one.aclose()
            await runner


def test_subscriber_gets_a_reading_at_once_and_every_interval():
    source = Fake()

    async def main():
        async with bus(source) as one:
            readings = one.subscribe("s", 10.0)
            three = [await anext(readings) for _ in range(3)]
            return [(reading.payload, reading.at_ms, reading.ok) for reading in three]

    assert virtual_time.run(main()) == [
        (1, 1_000_000, True),
        (2, 1_010_000, True),
        (3, 1_020_000, True),
    ]
    assert source.calls == [0.0, 10.0, 20.0]


def test_two_subscribers_share_each_collection_and_keep_their_own_pace():
    source = Fake()

    async def main():
        async with bus(source) as one:
            fast = one.subscribe("s", 10.0, Policy.DROP_OLDEST)
            slow = one.subscribe("s", 30.0, Policy.DROP_OLDEST)
            await asyncio.sleep(65)
            statistics = one.statistics()["s"]
            fast.close()
            slow.close()
            return (
                [reading.payload async for reading in fast],
                [reading.payload async for reading in slow],
                statistics,
            )

    fast, slow, statistics = virtual_time.run(main())
    assert (fast, slow) == ([1, 2, 3, 4, 5, 6, 7], [1, 4, 7])
    assert (statistics.collections_made, statistics.readings_shared) == (7, 3)
    assert (statistics.interval_s, statistics.subscribers) == (10.0, 2)


def test_concurrent_demands_share_one_collection():
    source = Fake(script=(1.0,))

    async def main():
        async with bus(source) as one:
            readings = await asyncio.gather(*[one.demand("s") for _ in range(5)])
            return {reading.payload for reading in readings}, one.statistics()["s"]

    payloads, statistics = virtual_time.run(main())
    assert (payloads, source.calls) == ({1}, [0.0])
    assert (statistics.collections_made, statistics.readings_shared) == (1, 4)


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
            return reading, one.last("s"), one.statistics()["s"]

    reading, last, statistics = virtual_time.run(main())
    assert (reading.payload, reading.error, reading.ok) == (None, text, False)
    assert last == reading
    assert (statistics.failures, statistics.last_error) == (1, text)


def test_slow_and_failing_sources_never_delay_another():
    good = Fake("good")

    async def main():
        bad = Fake("bad", (ValueError("no"),))
        hung = Stubborn("hung", timeout_s=3.0)
        async with bus(bad, hung, good) as one:
            for source in (bad, hung, good):
                one.subscribe(source.name, 1.0)
            await asyncio.sleep(9.5)
            return one.statistics()

    statistics = virtual_time.run(main())
    assert good.calls == [float(at) for at in range(10)]
    assert statistics["hung"].collections_made == 1
    assert statistics["hung"].timeouts == 1
    assert statistics["hung"].skipped_ticks == 9
    assert statistics["bad"].breaker is BreakerState.OPEN


def test_consumer_that_never_reads_delays_nobody_and_its_loss_is_counted():
    source = Fake()

    async def main():
        async with bus(source) as one:
            one.subscribe("s", 1.0, Policy.REJECT, capacity=2)
            reader = one.subscribe("s", 1.0, Policy.KEEP_LATEST)
            await asyncio.sleep(4.5)
            newest = await anext(reader)
            return newest.payload, one.statistics()["s"].dropped

    assert virtual_time.run(main()) == (5, 3 + 4)


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
            one.subscribe("s", 1.0)
            await asyncio.sleep(2.5)
            refused = await one.demand("s", max_age_s=0.0)
            await asyncio.sleep(17)
            return refused.error, one.statistics()["s"]

    error, statistics = virtual_time.run(main())
    assert error == "left alone for 3.5 s after failures: ValueError: no"
    assert source.calls[:5] == [0.0, 1.0, 2.0, 6.0, 14.0]
    assert (statistics.breaker, statistics.failures) == (BreakerState.CLOSED, 4)


def test_ticks_during_a_long_collection_are_skipped_not_queued():
    source = Fake(script=(2.5, 0.0), timeout_s=5.0)

    async def main():
        async with bus(source) as one:
            one.subscribe("s", 1.0)
            await asyncio.sleep(4.5)
            return one.statistics()["s"].skipped_ticks

    assert virtual_time.run(main()) == 2
    assert source.calls == [0.0, 3.0, 4.0]


def test_closed_subscription_ends_the_iteration_and_the_collections():
    source = Fake()

    async def main():
        async with bus(source) as one:
            subscription = one.subscribe("s", 1.0)
            asyncio.get_running_loop().call_later(2.5, subscription.close)
            found = [reading.payload async for reading in subscription]
            subscription.close()
            await asyncio.sleep(10)
            return found, one.statistics()["s"].subscribers

    assert virtual_time.run(main()) == ([1, 2, 3], 0)
    assert len(source.calls) == 3


def test_aclose_ends_running_collections_waiting_demands_and_subscriptions():
    async def main():
        source = Fake(script=(100.0,), timeout_s=200.0)
        async with bus(source) as one:
            subscription = one.subscribe("s", 1.0)
            demand = asyncio.create_task(one.demand("s"))
            await asyncio.sleep(0.5)
        readings = [reading async for reading in subscription]
        after = await one.demand("s")
        return (await demand).error, readings, after.error, asyncio.get_running_loop().time()

    error, readings, after, now_s = virtual_time.run(main())
    assert (error, readings) == ("the collection was cancelled", [])
    assert after == "the agent is stopping"
    assert now_s < 1003


def test_aclose_does_not_wait_for_ever_for_a_stubborn_source():
    async def main():
        loop = asyncio.get_running_loop()
        one = Coordinator(loop.time, lambda: 0, lambda: 0.0)
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
            with pytest.raises(KeyError, match="no source 'x' on the bus"):
                await one.demand("x")
            with pytest.raises(KeyError, match="no source 'x' on the bus"):
                one.subscribe("x")
            with pytest.raises(ValueError, match="source s is in the timetable already"):
                one.add(Fake())
            with pytest.raises(ValueError, match="source t: timeout_s must be above 0"):
                one.add(Fake("t", timeout_s=0.0))

    virtual_time.run(main())


def test_a14_the_first_reading_is_taken_at_once_whatever_the_jitter():
    source = Fake()

    async def main():
        loop = asyncio.get_running_loop()
        one = Coordinator(loop.time, lambda: 0, lambda: 0.25)
        one.add(source)
        runner = asyncio.create_task(one.run())
        one.subscribe("s", 8.0)
        await asyncio.sleep(20)
        await one.aclose()
        await runner

    virtual_time.run(main())
    assert source.calls == [0.0, 7.0, 15.0]


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
            readings = one.subscribe("s", 1.0)
            first = await anext(readings)
            await asyncio.sleep(30)
            return first, one.statistics()["s"]

    first, statistics = virtual_time.run(main())
    assert (first.error, first.ok, first.payload.attempts) == ("refused", False, 3)
    assert (statistics.last_error, statistics.failures) == ("refused", len(source.calls))
    assert (statistics.last_ok_age_s, statistics.breaker) == (None, BreakerState.OPEN)
    assert len(source.calls) < 10
