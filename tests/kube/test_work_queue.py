# SPDX-License-Identifier: Apache-2.0
"""Keys are looked at when they are due, one worker to a key, and again after a failure."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fodc_kube.work_queue import Agenda, WorkQueue


def test_the_earliest_wish_counts_and_what_is_dropped_is_not_looked_at() -> None:
    agenda = Agenda[str]()
    agenda.put("a", 50)
    agenda.put("a", 20)
    agenda.put("a", 90)
    assert (len(agenda), agenda.next()) == (1, 20)
    assert agenda.take_due(19) is None
    assert agenda.take_due(20) == "a"
    assert agenda.next() is None
    agenda.put("a", 30)
    agenda.drop("a")
    assert agenda.take_due(1000) is None


ACTIONS = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 50), st.booleans()))


@given(ACTIONS)
def test_an_agenda_is_the_earliest_due_time_of_each_key(
    actions: list[tuple[str, int, bool]],
) -> None:
    agenda, model = Agenda[str](), dict[str, int]()
    for key, due, drops in actions:
        if drops:
            agenda.drop(key)
            model.pop(key, None)
        else:
            agenda.put(key, due)
            model[key] = min(due, model.get(key, due))
        assert agenda.next() == min(model.values(), default=None)
    taken = []
    while (key := agenda.take_due(100)) is not None:
        taken.append(model.pop(key))
    assert (taken, model) == (sorted(taken), {})


@contextlib.asynccontextmanager
async def working(
    look: Callable[[str], Awaitable[None]], workers: int = 2
) -> AsyncIterator[WorkQueue[str]]:
    loop = asyncio.get_running_loop()
    queue = WorkQueue(look, workers=workers, clock_s=loop.time)
    task = asyncio.create_task(queue.run())
    try:
        async with asyncio.timeout(5):
            yield queue
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def run(test: Callable[[], Any]) -> None:
    asyncio.run(test())


def test_a_key_has_one_look_at_a_time_and_what_comes_meanwhile_is_one_more() -> None:
    async def test() -> None:
        looks, go = list[str](), asyncio.Event()

        async def look(key: str) -> None:
            looks.append(key)
            await go.wait()

        async with working(look) as queue:
            queue.put("a")
            await asyncio.sleep(0)
            while not looks:
                await asyncio.sleep(0)
            for _ in range(5):
                queue.put("a")
                await asyncio.sleep(0)
            assert looks == ["a"]
            go.set()
            while len(queue):
                await asyncio.sleep(0)

            assert looks == ["a", "a"]

    run(test)


def test_a_look_that_hangs_costs_its_worker_and_no_other_key() -> None:
    async def test() -> None:
        done = asyncio.Event()

        async def look(key: str) -> None:
            if key == "hangs":
                await asyncio.Event().wait()
            done.set()

        async with working(look) as queue:
            queue.put("hangs")
            queue.put("other")
            await done.wait()

    run(test)


def test_a_look_that_fails_is_repeated() -> None:
    async def test() -> None:
        looks: list[str] = []
        again = asyncio.Event()
        loop = asyncio.get_running_loop()

        async def look(key: str) -> None:
            looks.append(key)
            if len(looks) == 1:
                raise ZeroDivisionError
            again.set()

        queue = WorkQueue[str](
            look, workers=1, clock_s=loop.time, failed=lambda key: queue.put(key, loop.time())
        )
        task = asyncio.create_task(queue.run())
        queue.put("a")
        async with asyncio.timeout(5):
            await again.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        assert looks == ["a", "a"]

    run(test)
