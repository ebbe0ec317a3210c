# SPDX-License-Identifier: Apache-2.0
"""Questions about callers on their way to whoever knows the answer.

The one idea: nothing hangs on somebody who is away. A question is asked once however many wait for
its answer, few are asked at a time, each has a deadline, and beyond a bound nobody waits at all.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from fodc_proxy.access.answers import Answer, Away, Denied, Remembered
from fodc_proxy.access.turns import FairTurns
from fodc_proxy.fleet.moment import Moment

T = TypeVar("T")


def moment() -> Moment:
    """Return now by both clocks."""
    return Moment(time.monotonic_ns() // 1_000_000, time.time_ns() // 1_000_000)


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds that one question may take with its turn, and how many go at a time and wait."""

    deadline_s: float = 3.0
    at_a_time: int = 32
    most_waiting: int = 4096
    most_of_one: int = 512
    """Of one peer."""


class Asking(Generic[T]):
    """Asks through a memory; `name` says in reasons who is asked."""

    def __init__(
        self,
        name: str,
        remembered: Remembered[T],
        pace: Pace | None = None,
        now: Callable[[], Moment] = moment,
    ) -> None:
        self.asked: Counter[str] = Counter()
        """How questions that were truly asked have ended: yes, denied or away."""
        self._name = name
        self._remembered = remembered
        self._pace = pace or Pace()
        self._now = now
        self._turns = FairTurns(self._pace.at_a_time)
        self._waiting_of: Counter[str] = Counter()
        self._flights: dict[bytes, asyncio.Task[Answer[T]]] = {}

    async def ask(
        self, key: bytes, question: Callable[[], Awaitable[Answer[T]]], whose: str = ""
    ) -> Answer[T]:
        """Return the answer to the question with this key, remembered or asked for now.

        `whose` is the peer for whom it is asked: each has its turn, and its share of the queue.
        """
        found = self._remembered.look(key, self._now())
        if found is not None:
            return found
        flight = self._flights.get(key)
        if flight is None:
            if len(self._flights) >= self._pace.most_waiting:
                return self._learn(key, Away(f"too many wait for {self._name} already"))
            if self._waiting_of[whose] >= self._pace.most_of_one:
                return Away(f"{whose or 'this peer'} waits for {self._name} too often already")
            flight = asyncio.create_task(self._asked(key, question, whose), name="asking")
            self._flights[key] = flight
            self._waiting_of[whose] += 1
            flight.add_done_callback(lambda _: self._landed(key, whose))
        # Whoever waits may be cancelled; the others still want the answer.
        return await asyncio.shield(flight)

    def _landed(self, key: bytes, whose: str) -> None:
        self._flights.pop(key, None)
        self._waiting_of[whose] -= 1
        if not self._waiting_of[whose]:
            del self._waiting_of[whose]

    async def stop(self) -> None:
        """End all questions; those who wait are cancelled."""
        flights = tuple(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    async def _asked(
        self, key: bytes, question: Callable[[], Awaitable[Answer[T]]], whose: str
    ) -> Answer[T]:
        answer: Answer[T]
        try:
            async with asyncio.timeout(self._pace.deadline_s), self._turns.turn(whose):
                answer = await question()
        except TimeoutError:
            answer = Away(f"{self._name} did not answer within {self._pace.deadline_s:g} s")
        return self._learn(key, answer)

    def _learn(self, key: bytes, answer: Answer[T]) -> Answer[T]:
        match answer:
            case Denied():
                self.asked["denied"] += 1
            case Away():
                self.asked["away"] += 1
            case _:
                self.asked["yes"] += 1
        return self._remembered.learn(key, answer, self._now())
