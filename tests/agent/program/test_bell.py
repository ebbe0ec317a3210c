# SPDX-License-Identifier: Apache-2.0
"""A bell wakes who waits for it, and otherwise its time is up."""

import asyncio

import pytest

from fodc_agent.bell import Bell
from tests.agent.bus import virtual_time


def test_who_waits_is_woken_by_a_ring_or_by_the_time():
    async def play():
        bell = Bell()
        loop = asyncio.get_running_loop()
        loop.call_later(2, bell.ring)
        first = await bell.rings(10), loop.time()
        return first, (await bell.rings(10), loop.time())

    assert virtual_time.run(play()) == ((True, 1002.0), (False, 1012.0))


def test_a_ring_that_nobody_waited_for_counts_once_at_the_next_wait():
    async def play():
        bell = Bell()
        bell.ring()
        bell.ring()
        return await bell.rings(10), await bell.rings(10)

    assert virtual_time.run(play()) == (True, False)


def test_who_leaves_takes_no_ring_with_them():
    async def play():
        bell = Bell()
        waiting = asyncio.create_task(bell.rings(10))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        bell.ring()
        return await bell.rings(10)

    assert virtual_time.run(play()) is True
