# SPDX-License-Identifier: Apache-2.0
"""What crashes and pressure share: whom to ask, and what came of it.

The one idea: the streams of the existing contract are one way to ask an agent; who else can be
asked is the port's business.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from fodc_api.findings import PressureProfile
from fodc_proxy.evidence.findings import Origin
from fodc_proxy.fleet.membership import Member
from fodc_proxy.queries.lanes import wanted
from fodc_proxy.queries.results import Selection


class Agents(Protocol):
    """Sends questions to agents; each returns "" or why it cannot be sent."""

    def ask_crashes(self, agent_id: str) -> str:
        """Ask for all crashes that the agent knows."""

    def ask_events(self, agent_id: str, request_id: str) -> str:
        """Ask for all pressure events that the agent has."""

    def ask_profile(
        self, agent_id: str, request_id: str, profile_id: str, profile: PressureProfile
    ) -> str:
        """Ask for the bytes of a profile."""


@dataclass(frozen=True, slots=True)
class Whole:
    """How whole a list is: who was wanted, and who could not be asked or did not answer."""

    asked: int
    missing: tuple[str, ...]


def living(members: Iterable[Member], selection: Selection) -> tuple[list[Member], list[Member]]:
    """Return whom to ask, and who is wanted and cannot be asked."""
    covered = wanted(members, selection)
    return [m for m in covered if m.is_living], [m for m in covered if not m.is_living]


def origin_of(member: Member) -> Origin:
    """Return whose a finding of this agent is."""
    return Origin(
        member.namespace, member.pod_name, member.role, member.agent_id, member.agent_version
    )


def covers(selection: Selection, origin: Origin) -> bool:
    """Say whether a finding is wanted, whether or not its node is still there."""
    if not selection.role.fits(origin.role, ""):
        return False
    pod = selection.pod_name.casefold()
    return not pod or pod in {origin.pod_name.casefold(), origin.address.casefold()}
