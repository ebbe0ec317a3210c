# SPDX-License-Identifier: Apache-2.0
"""The bridge between two loops in two threads: results, errors, deadlines, ends."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fodc_operator.handlers.bridge import Bridge, BridgeError
from fodc_protocol.errors import Reason


def across(
    caller: Callable[[Bridge], Coroutine[Any, Any, Any]], *, most_in_flight: int = 256
) -> Any:
    """Run `caller` in a loop of another thread while this one serves; return what it returned."""

    async def main() -> Any:
        bridge = Bridge(asyncio.get_running_loop(), most_in_flight=most_in_flight)
        return await asyncio.to_thread(lambda: asyncio.run(caller(bridge)))

    return asyncio.run(main())


def test_a_result_comes_back_from_the_main_loop() -> None:
    threads: list[str] = []

    async def work() -> int:
        threads.append(threading.current_thread().name)
        return 42

    async def caller(bridge: Bridge) -> int:
        return await bridge.call(work)

    assert across(caller) == 42
    assert threads == ["MainThread"]


def test_an_error_of_the_work_is_the_callers() -> None:
    async def work() -> None:
        raise LookupError("no such thing")

    async def caller(bridge: Bridge) -> None:
        with pytest.raises(LookupError, match="no such thing"):
            await bridge.call(work)

    across(caller)


def test_work_that_takes_too_long_is_cancelled_and_told() -> None:
    ended = threading.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def caller(bridge: Bridge) -> None:
        with pytest.raises(BridgeError, match="within 1 s"):
            await bridge.call(work, deadline_s=1.0)

    across(caller)
    assert ended.is_set()


def test_a_caller_that_is_cancelled_cancels_the_work() -> None:
    began, ended = threading.Event(), threading.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def caller(bridge: Bridge) -> None:
        task = asyncio.create_task(bridge.call(work))
        await asyncio.to_thread(began.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(ended.wait, 5)

    across(caller)


def test_beyond_the_greatest_number_of_calls_it_says_busy() -> None:
    async def caller(bridge: Bridge) -> None:
        release = threading.Event()

        async def work() -> None:
            while not release.is_set():
                await asyncio.sleep(0.005)

        waiting = [asyncio.create_task(bridge.call(work)) for _ in range(2)]
        await asyncio.sleep(0.02)
        with pytest.raises(BridgeError) as caught:
            await bridge.call(work)
        assert caught.value.reason is Reason.BUSY
        release.set()
        await asyncio.gather(*waiting)
        await bridge.call(work)

    across(caller, most_in_flight=2)


def test_a_closed_bridge_and_an_ended_loop_refuse() -> None:
    async def work() -> None:
        raise AssertionError("never run")

    async def make() -> Bridge:
        return Bridge(asyncio.get_running_loop())

    async def call(bridge: Bridge) -> None:
        with pytest.raises(BridgeError) as caught:
            await bridge.call(work)
        assert caught.value.reason is Reason.CANCELLED

    ended = asyncio.run(make())
    asyncio.run(call(ended))
    closed = asyncio.run(make())
    closed.close()
    asyncio.run(call(closed))
