# SPDX-License-Identifier: Apache-2.0
"""What is written of a node at any moment is not ahead of what was told of it."""

import asyncio

from fodc_agent.occurrences.keeping import Notes
from fodc_agent.occurrences.rules import Happened, Life, NodeRules, Remembered
from fodc_agent.occurrences.telling import Occurrences
from fodc_agent.settings import load
from fodc_protocol.occurrences import OccurrenceKind

LIFE = Life(7, 100)


class Book:
    """Keeps all that is ever written."""

    def __init__(self) -> None:
        self.pages: list[Notes] = []
        self.written = asyncio.Event()

    async def open(self) -> Notes:
        return Notes()

    async def write(self, notes) -> None:
        self.pages.append(notes())
        self.written.set()


class NothingTaken:
    async def begin(self, *_: object) -> dict:
        await asyncio.sleep(0)
        return {}

    def known(self, records: tuple) -> tuple:
        return records

    def has(self, _command_id: str) -> bool:
        return False


def test_a_kill_between_two_that_came_at_once_loses_neither() -> None:
    async def play() -> list[Notes]:
        book, rules = Book(), NodeRules(Remembered(), 0.0)
        told = Occurrences(
            book, NothingTaken(), load([], {}),
            tell=lambda _event: None, now_ms=lambda: 5,
        )  # fmt: skip
        told.remembered = lambda: rules.remembered
        await told.open("life-1")
        rules.process_seen(LIFE, 1)
        told.post([Happened(OccurrenceKind.TRIGGER, "before", {})])
        told.post(rules.process_seen(None, 2))
        running = asyncio.create_task(told.run())
        while len(book.pages) < 3:
            book.written.clear()
            await book.written.wait()
        running.cancel()
        return book.pages

    first, second, last = asyncio.run(play())

    kinds = [[str(one.kind) for one in page.events.waiting] for page in (first, second, last)]
    assert kinds == [["trigger"], ["trigger", "node-gone"], ["trigger", "node-gone"]]
    assert [page.remembered.is_gone for page in (first, second, last)] == [False, True, True]
