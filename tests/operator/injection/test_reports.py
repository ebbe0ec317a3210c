# SPDX-License-Identifier: Apache-2.0
"""Events about pods that were let in without an agent, and what keeps them few."""

import asyncio

from fodc_operator.injection.reports import MOST_WAITING, Note, Reports
from tests.operator.injection.pods import policy
from tests.operator.memory_api.server import EVENTS
from tests.operator.servers import cluster

NOTE = Note("banyandb", None, "InjectionFailed", "pod data-0: a fault")


def test_an_event_is_about_the_policy_or_else_the_namespace() -> None:
    async def run() -> None:
        async with cluster() as (api, server):
            reports = Reports(server, dropped=lambda: None)
            api.fail(403, "POST", "events")
            reports.tell(Note("banyandb", None, "Refused", "is lost"))
            reports.tell(NOTE)
            reports.tell(Note("banyandb", policy(), "Suspended", "pod data-1: no agents"))
            task = asyncio.create_task(reports.run())
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
                ("Suspended", "Warning", "FodcInjection", "banyandb"),
            }

    asyncio.run(run())


def test_the_same_is_told_once_a_minute_and_what_is_too_much_is_counted() -> None:
    async def run() -> None:
        async with cluster() as (_, server):
            dropped: list[int] = []
            now_s = [0.0]
            reports = Reports(server, dropped=lambda: dropped.append(1), clock_s=lambda: now_s[0])
            for _ in range(5):
                reports.tell(NOTE)
            assert reports._waiting.qsize() == 1
            now_s[0] = 60.0
            reports.tell(NOTE)
            assert reports._waiting.qsize() == 2
            for number in range(MOST_WAITING):
                reports.tell(Note(f"ns-{number}", None, "InjectionFailed", "x"))

            assert (reports._waiting.qsize(), len(dropped)) == (MOST_WAITING, 2)

    asyncio.run(run())
