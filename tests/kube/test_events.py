# SPDX-License-Identifier: Apache-2.0
"""Events are told without waiting, written in their order, and kept few."""

import asyncio

from fodc_kube.conditions import Happened
from fodc_kube.events import MOST_WAITING, Events, reference
from fodc_kube.kinds import NAMESPACE, POD
from tests.operator.memory_api.server import EVENTS
from tests.operator.servers import cluster

FAULT = Happened("InjectionFailed", "pod data-0: a fault", is_warning=True)
ABOUT = reference(NAMESPACE, "banyandb", "banyandb")


def test_an_event_is_written_about_its_object_and_a_refused_one_costs_no_other() -> None:
    async def run() -> None:
        async with cluster() as (api, server):
            events = Events(server)
            api.fail(403, "POST", "events")
            events.tell(ABOUT, Happened("Refused", "is lost"))
            events.tell(ABOUT, FAULT)
            events.tell(reference(POD, "banyandb", "data-1", "u-1"), Happened("Released", "ok"))
            task = asyncio.create_task(events.run())
            async with asyncio.timeout(5):
                while len(api.store(EVENTS).listed("banyandb")) < 2:
                    await asyncio.sleep(0.005)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            told = {
                (one["reason"], one["type"], one["regarding"]["kind"], one["regarding"]["name"])
                for one in api.store(EVENTS).listed("banyandb")
            }

            assert told == {
                ("InjectionFailed", "Warning", "Namespace", "banyandb"),
                ("Released", "Normal", "Pod", "data-1"),
            }

    asyncio.run(run())


def test_what_may_flood_is_told_once_a_minute_and_what_is_too_much_is_counted() -> None:
    async def run() -> None:
        async with cluster() as (_, server):
            now_s = [0.0]
            events = Events(server, clock_s=lambda: now_s[0])
            for _ in range(5):
                events.tell_seldom(ABOUT, FAULT)
            assert events._waiting.qsize() == 1
            now_s[0] = 60.0
            events.tell_seldom(ABOUT, FAULT)
            assert events._waiting.qsize() == 2
            for number in range(MOST_WAITING):
                events.tell_seldom(reference(NAMESPACE, f"ns-{number}", "x"), FAULT)

            assert (events._waiting.qsize(), events.dropped) == (MOST_WAITING, 2)

    asyncio.run(run())
