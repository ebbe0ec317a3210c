# SPDX-License-Identifier: Apache-2.0
"""The newest part of each agent, for answers in which it is missing, pure.

The one idea: an agent that is slow or gone is missing, and what it told last is shown with its age,
so a reader sees both.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

from fodc_proxy.fleet.membership import Member
from fodc_proxy.queries.results import RoundResult

MOST_BYTES: Final = 32 * 1024 * 1024


class Sized(Protocol):
    """What has a length on the wire."""

    @property
    def size_bytes(self) -> int:
        """The length."""


S = TypeVar("S", bound=Sized)


@dataclass(frozen=True, slots=True)
class Aged(Generic[S]):
    """A part and how old it is; a fresh one was told in this round."""

    member: Member
    value: S
    age_ms: int
    is_fresh: bool


@dataclass(slots=True)
class Remembered(Generic[S]):
    """Newest parts by address; the longest unheard give way when all take too much."""

    most_bytes: int = MOST_BYTES
    _kept: dict[str, tuple[Member, S, int]] = field(default_factory=dict)

    def note(self, result: RoundResult[S], now_ms: int) -> tuple[Aged[S], ...]:
        """Keep what a round gave; return it, after what is known of who is missing.

        `now_ms` is of any steady clock.
        """
        for answer in result.answers:
            self._kept.pop(answer.member.address, None)
            self._kept[answer.member.address] = (answer.member, answer.value, now_ms)
        missing = [lost.member.address for lost in result.missing]
        old = [self._kept[address] for address in missing if address in self._kept]
        self._bound()
        fresh = [Aged(answer.member, answer.value, 0, is_fresh=True) for answer in result.answers]
        aged = [Aged(one, value, now_ms - told_ms, is_fresh=False) for one, value, told_ms in old]
        return (*aged, *fresh)

    def keep_only(self, addresses: Iterable[str]) -> None:
        """Forget every agent but these."""
        wanted = set(addresses)
        for address in [one for one in self._kept if one not in wanted]:
            del self._kept[address]

    def _bound(self) -> None:
        size_bytes = sum(value.size_bytes for _, value, _ in self._kept.values())
        while size_bytes > self.most_bytes:
            _, value, _ = self._kept.pop(next(iter(self._kept)))
            size_bytes -= value.size_bytes
