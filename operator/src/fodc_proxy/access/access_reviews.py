# SPDX-License-Identifier: Apache-2.0
"""What a caller of the cluster may: a port to whoever decides, and a memory in front of it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from fodc_api.words import Right
from fodc_proxy.access.answers import Answer, Memory, Remembered
from fodc_proxy.access.asking import Asking, Pace, moment
from fodc_proxy.access.callers import Caller
from fodc_proxy.fleet.moment import Moment


@dataclass(frozen=True, slots=True)
class Allowed:
    """The caller may."""


Decision: TypeAlias = Answer[Allowed]


class AccessReviewer(Protocol):
    """Whoever decides what callers may."""

    async def review(self, caller: Caller, right: Right, namespace: str) -> Decision:
        """Say whether a caller may in a namespace, or in all of them for an empty one.

        A no names what is missing and who grants it. Raises nothing.
        """


class AccessReviews:
    """An AccessReviewer that remembers, asks once, and never hangs."""

    def __init__(
        self,
        reviewer: AccessReviewer,
        *,
        name: str = "the API server",
        memory: Memory | None = None,
        pace: Pace | None = None,
        now: Callable[[], Moment] = moment,
    ) -> None:
        self._asking = Asking(name, Remembered[Allowed](memory), pace, now)
        self._reviewer = reviewer
        self.asked: Final = self._asking.asked

    async def review(self, caller: Caller, right: Right, namespace: str) -> Decision:
        """Say whether a caller may, from memory or asked for now."""
        key = _key(caller, right, namespace)
        return await self._asking.ask(key, lambda: self._reviewer.review(caller, right, namespace))

    async def stop(self) -> None:
        """End what is being asked."""
        await self._asking.stop()


def _key(caller: Caller, right: Right, namespace: str) -> bytes:
    who = (caller.name, caller.uid, caller.groups, sorted(caller.extra.items()))
    return hashlib.sha256(repr((who, str(right), namespace)).encode()).digest()
