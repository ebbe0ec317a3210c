# SPDX-License-Identifier: Apache-2.0
"""What callers of a collection say and get: whom they want, whose part came, whose is missing."""

from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from fodc_protocol.errors import FodcError, Reason
from fodc_protocol.roles import ANY_ROLE, RoleFilter
from fodc_proxy.fleet.membership import Member
from fodc_proxy.queries import plan

T = TypeVar("T")
_RETRY_AFTER_S: Final = 5


@dataclass(frozen=True, slots=True)
class Selection:
    """Which agents a caller wants; empty means all. The pod name in any case (§6.3).

    The pod name may have its namespace before it: `namespace/pod`.
    """

    role: RoleFilter = ANY_ROLE
    pod_name: str = ""

    def covers(self, member: Member) -> bool:
        """Say whether this member is wanted."""
        if not self.role.fits(member.role, member.tier):
            return False
        wanted = self.pod_name.casefold()
        return not wanted or wanted in {member.pod_name.casefold(), member.address.casefold()}

    def pod_label(self, member: Member) -> str:
        """Return the value that label pod_name must have in the answer of this member."""
        by_address = self.pod_name.casefold() == member.address.casefold()
        return member.pod_name if member.namespace and by_address else self.pod_name

    @property
    def is_all(self) -> bool:
        """Whether there is no filter."""
        return self.role.is_all and not self.pod_name


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """One agent's part."""

    member: Member
    value: T


@dataclass(frozen=True, slots=True)
class Missing:
    """One agent whose part is missing, and why."""

    member: Member
    reason: str
    message: str


@dataclass(frozen=True, slots=True, weakref_slot=True)
class RoundResult(Generic[T]):
    """What a round gave: parts in order of registration, who is missing, and what was left out.

    A window's place is free again when its result is let go: keep it as long as its columns.
    """

    answers: tuple[Answer[T], ...]
    missing: tuple[Missing, ...]
    refused: tuple[tuple[Member, str], ...] = ()
    """Families that were not sound, by agent."""

    @property
    def asked(self) -> int:
        """Count of the agents that were wanted."""
        return len(self.answers) + len(self.missing)


class TooManyWindowsError(FodcError):
    """As many windows are being collected as the proxy has room for: come back later."""

    default_reason = Reason.BUSY
    retry_after_s = _RETRY_AFTER_S

    def __init__(self) -> None:
        super().__init__(
            "as many windows are being read as the proxy has memory for; "
            f"ask again in {_RETRY_AFTER_S} s"
        )


class AskPort(Protocol):
    """Sends what a round wants to one agent; one implementation per contract."""

    def ask(self, agent_id: str, ask_id: int, want: plan.Want) -> str:
        """Queue the command without waiting; return "" or why it cannot be sent."""
