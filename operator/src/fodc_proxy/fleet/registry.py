# SPDX-License-Identifier: Apache-2.0
"""The registry: membership with a clock, ids and subscribers.

The one idea: all rules live in `membership`; this shell only supplies time and uuids, keeps one
task that ticks, and hands every transition to whoever subscribed.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from fodc_protocol.errors import Reason
from fodc_protocol.link import frames
from fodc_proxy.fleet.errors import RegistrationError
from fodc_proxy.fleet.limits import Limits
from fodc_proxy.fleet.membership import Member, Membership, Registered, Registration, Transition
from fodc_proxy.fleet.moment import Moment
from fodc_proxy.fleet.naming import namesakes

Subscriber: TypeAlias = Callable[[Transition], None]
_LONGEST_TICK_S: Final = 5.0
_log = logging.getLogger(__name__)


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000


def _steady_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def _new_agent_id() -> str:
    return str(uuid.uuid4())


class Registry:
    """Members of the fleet. Every method is synchronous and belongs to the event loop's thread."""

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        clock_ms: Callable[[], int] = _unix_ms,
        steady_ms: Callable[[], int] = _steady_ms,
        new_agent_id: Callable[[], str] = _new_agent_id,
    ) -> None:
        self.limits = limits or Limits()
        self._membership = Membership(self.limits)
        self._clock_ms = clock_ms
        self._steady_ms = steady_ms
        self._new_agent_id = new_agent_id
        self._subscribers: list[Subscriber] = []
        self._ticking: asyncio.Task[None] | None = None

    # ---- reading ------------------------------------------------------------------------------

    def members(self) -> tuple[Member, ...]:
        """Return all members, living or not, in order of registration."""
        return self._membership.members()

    def find(self, node_id: str) -> Member | None:
        """Return the member with this `namespace/pod`, agent id, or pod name of one namespace."""
        return self._membership.find(node_id)

    def namesakes(self, node_id: str) -> tuple[Member, ...]:
        """Return the members of this pod name where `find` cannot say who is meant."""
        members = self._membership.members()
        return namesakes(node_id, members)

    def get(self, agent_id: str) -> Member | None:
        """Return the member with exactly this agent id."""
        return self._membership.get(agent_id)

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        """Call `callback` with each transition from now on; the returned function ends that."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    @property
    def conflicts(self) -> int:
        """How often two living agents have claimed one pod."""
        return self._membership.conflicts

    @property
    def superseded(self) -> int:
        """How many entries newer registrations have replaced."""
        return self._membership.superseded

    def silent_ms(self, member: Member) -> int:
        """Return how long nothing has been heard of a member, whatever the time of day does."""
        return max(0, self._steady_ms() - member.heard_ms)

    def _now(self) -> Moment:
        return Moment(self._steady_ms(), self._clock_ms())

    # ---- inputs -------------------------------------------------------------------------------

    def register(self, registration: Registration) -> Registered:
        """Take an agent in; raises RegistrationError with the reason for the agent."""
        self._membership.check_claim(registration)
        holder = self._membership.rival_of(registration)
        if holder is not None:
            self.contested(holder.agent_id)
            message = f"pod {holder.address} is served by an agent that is newer and lives"
            raise RegistrationError(message, reason=Reason.SUPERSEDED)
        registered = self._membership.register(registration, self._new_agent_id(), self._now())
        self._tell(registered.transitions)
        return registered

    def contested(self, agent_id: str, claims: int = 1) -> None:
        """Note that an agent lives which this member has superseded."""
        self._tell(self._membership.contested(agent_id, self._now(), claims))

    def successor_of(self, member: Member) -> Member | None:
        """Return the living member that serves the pod of one that was superseded."""
        return self._membership.successor_of(member)

    def heartbeat(self, agent_id: str, state: frames.NodeState | None = None) -> None:
        """Note a heartbeat; raises UnknownAgentError for a removed or superseded agent."""
        self._tell(self._membership.heartbeat(agent_id, self._now(), state))

    def refresh(self, agent_id: str, role: str, labels: Mapping[str, str]) -> None:
        """Note a heartbeat of the existing contract; raises UnknownAgentError."""
        self._tell(self._membership.refresh(agent_id, role, labels, self._now()))

    def disconnected(self, agent_id: str) -> None:
        """Note the end of the registration stream; harmless for an unknown agent."""
        self._tell(self._membership.disconnected(agent_id, self._now()))

    def unregister(self, agent_id: str) -> None:
        """Remove a member at once; raises UnknownAgentError."""
        self._tell(self._membership.unregister(agent_id, self._now()))

    def tick(self) -> None:
        """Apply the timeouts now."""
        self._tell(self._membership.tick(self._now()))

    def _tell(self, transitions: tuple[Transition, ...]) -> None:
        for transition in transitions:
            for subscriber in tuple(self._subscribers):
                try:
                    subscriber(transition)
                except Exception:  # noqa: BLE001 - one subscriber must not cost the others
                    _log.exception("a subscriber failed on %s", transition.change)

    # ---- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to apply the timeouts in the background."""
        self._ticking = asyncio.create_task(self._tick_on(), name="registry-ticks")

    async def stop(self) -> None:
        """End the background work and wait for its end (R22)."""
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
            self._ticking = None

    async def _tick_on(self) -> None:
        pause_s = min(self.limits.heartbeat_timeout_ms / 6000, _LONGEST_TICK_S)
        while True:
            await asyncio.sleep(pause_s)
            self.tick()
