# SPDX-License-Identifier: Apache-2.0
"""Occurrences on our own link: taken in one after the other, acknowledged when they are stored.

The one idea: an agent is told that an occurrence is stored by the one who stored it, so as long as
the store does not work agents keep what they have to tell, and nothing is held here for them.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from fodc_protocol.errors import FodcError
from fodc_protocol.link import frames
from fodc_protocol.link.event_queue import MAX_EVENTS
from fodc_protocol.occurrences import OccurrenceKind
from fodc_proxy.evidence.asking import origin_of
from fodc_proxy.evidence.incidents.occurrence import Inbox, Occurrence
from fodc_proxy.fleet.membership import Member
from fodc_proxy.wire.bounds import Bound, WireError

MOST_WAITING: Final = 2 * MAX_EVENTS
"""Of one link: all that an agent may hold, and what it tells while these are stored."""
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
_log = logging.getLogger(__name__)


class Line(Protocol):
    """Where acknowledgements go."""

    def acknowledge(self, ack: frames.EventAck) -> bool:
        """Queue an acknowledgement; False when it is dropped."""


class _Delivery:
    """What one link has told and is not stored yet."""

    def __init__(self, member: Member, line: Line) -> None:
        self.member = member
        self.line = line
        self.waiting: deque[frames.Event] = deque()
        self.task: asyncio.Task[None] | None = None


class Occurrences:
    """What agents tell of their nodes; `inbox` takes it, and without one nothing is stored."""

    def __init__(
        self, member_of: Callable[[str], Member | None], inbox: Inbox | None = None
    ) -> None:
        self.inbox = inbox
        self.refusals = 0
        """How often the inbox could not take what it was given."""
        self._member_of = member_of
        self._deliveries: dict[str, _Delivery] = {}

    @property
    def waiting(self) -> int:
        """Occurrences that came and are not stored yet."""
        return sum(len(one.waiting) for one in self._deliveries.values())

    def linked(self, member: Member, line: Line) -> None:
        """An agent is there."""
        self._deliveries[member.agent_id] = _Delivery(member, line)

    def heard(self, agent_id: str, event: frames.Event) -> None:
        """Take in what an agent tells; raises WireError for more than it may hold."""
        delivery = self._deliveries.get(agent_id)
        if delivery is None:
            return
        if len(delivery.waiting) >= MOST_WAITING:
            message = f"{MOST_WAITING} events wait to be stored; an agent holds {MAX_EVENTS}"
            raise WireError(message, Bound.COUNT)
        delivery.waiting.append(event)
        if delivery.task is None:
            delivery.task = asyncio.create_task(self._deliver(delivery), name="occurrences")

    def gone(self, agent_id: str) -> None:
        """The link is over: what was not stored is told again on the next one."""
        delivery = self._deliveries.pop(agent_id, None)
        if delivery is not None and delivery.task is not None:
            delivery.task.cancel()

    async def stop(self) -> None:
        """End all work and wait for it."""
        tasks = [one.task for one in self._deliveries.values() if one.task is not None]
        self._deliveries.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _deliver(self, delivery: _Delivery) -> None:
        """Store what waits, in its order; a store that fails is asked again after a pause."""
        pause_s = FIRST_PAUSE_S
        try:
            while delivery.waiting:
                event = delivery.waiting[0]
                try:
                    await self._store(delivery, event)
                except FodcError as error:
                    self._refused(delivery, error)
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                    continue
                pause_s = FIRST_PAUSE_S
                delivery.waiting.popleft()
                delivery.line.acknowledge(frames.EventAck(event.sequence, event.incarnation))
        finally:
            delivery.task = None

    async def _store(self, delivery: _Delivery, event: frames.Event) -> None:
        if self.inbox is None:
            raise FodcError("nobody takes occurrences in")
        # The role may have been found out since the link began.
        member = self._member_of(delivery.member.agent_id) or delivery.member
        await self.inbox.take(occurrence_of(member, event))

    def _refused(self, delivery: _Delivery, error: FodcError) -> None:
        self.refusals += 1
        log = _log.warning if self.refusals == 1 else _log.debug
        log("occurrences of %s are not stored: %s", delivery.member.address, error.message)


def occurrence_of(member: Member, event: frames.Event) -> Occurrence:
    """Return what an agent told; a kind that is not known here is `other`."""
    return Occurrence(
        origin=origin_of(member),
        incarnation=event.incarnation,
        sequence=event.sequence,
        occurred_at_ms=event.occurred_at_ms,
        kind=_kind(event.kind),
        message=event.message or event.kind,
        fields=event.fields,
        gap=event.gap,
    )


def _kind(text: str) -> OccurrenceKind:
    try:
        return OccurrenceKind(text)
    except ValueError:
        return OccurrenceKind.OTHER
