# SPDX-License-Identifier: Apache-2.0
"""From what happens to a node to the incident, with both ends killed at any point between.

The rules of both ends together, on virtual time and disks of memory: the agent's queue and notes,
the proxy's book. Nothing acknowledged is lost, nothing stands twice, and what was produced is
delivered, gapped or waits.
"""

from collections import Counter
from enum import StrEnum

from hypothesis import given, settings
from hypothesis import strategies as st

from fodc_agent.occurrences.keeping import Notes, read, written
from fodc_protocol.link.event_queue import EventQueue, KeptEvents
from fodc_protocol.link.frames import Event
from fodc_protocol.occurrences import OccurrenceKind
from fodc_proxy.evidence.findings import Origin
from fodc_proxy.evidence.incidents.book import Book
from fodc_proxy.evidence.incidents.facts import of_occurrence
from fodc_proxy.evidence.incidents.occurrence import Occurrence
from fodc_proxy.evidence.incidents.records import dump_incident, load_incident

NOW_MS = 1_800_000_000_000
MINUTE_MS = 60_000
ROOM = 4
NODE = Origin("banyandb", "data-0", "ROLE_DATA", "agent-1")


class Point(StrEnum):
    """Where something ends on the way, in the order of the way."""

    AGENT_BEFORE_NOTED = "agent killed before it has noted what happened"
    AGENT_BEFORE_TOLD = "agent killed after that, and before it told anybody"
    LINK_WHILE_TOLD = "link cut while it is told"
    PROXY_BEFORE_TAKEN = "proxy killed as it comes in"
    PROXY_BEFORE_STORED = "proxy killed after it was taken in, and before it is stored"
    DISK_FULL = "the proxy's store takes nothing"
    PROXY_BEFORE_ACKNOWLEDGED = "proxy killed after it is stored, and before it says so"
    LINK_WHILE_ACKNOWLEDGED = "link cut while the acknowledgement is on its way"
    AGENT_BEFORE_LET_GO = "agent killed after it heard that, and before it has noted it"
    PROXY_AFTERWARDS = "proxy killed when all is done"
    AGENT_AFTERWARDS = "agent killed when all is done"


class World:
    """An agent and a proxy, each with a disk that outlives it."""

    def __init__(self, room: int = ROOM) -> None:
        self.now_ms = NOW_MS
        self.room = room
        self.notes = written(Notes())
        self.lives = 0
        self.stored: dict[str, bytes] = {}
        self.noted: list[str] = []
        self.acknowledged: set[str] = set()
        self.start_agent()
        self.book = Book()

    # ---- the agent ------------------------------------------------------------------------------

    def start_agent(self) -> None:
        self.lives += 1
        kept: KeptEvents = read(self.notes).events
        self.queue = EventQueue(f"life-{self.lives}", kept, max_events=self.room)

    def note(self) -> None:
        self.notes = written(Notes(self.queue.kept()))

    def happens(self, what: str, kind: OccurrenceKind, end: Point | None) -> None:
        event = self.queue.add(kind, what, {}, self.now_ms)
        if end is Point.AGENT_BEFORE_NOTED:
            self.start_agent()
            return
        self.note()
        if event is not None:
            self.noted.append(what)
        if end is Point.AGENT_BEFORE_TOLD:
            self.start_agent()

    # ---- the way --------------------------------------------------------------------------------

    def deliver(self, end: Point | None) -> None:
        """Tell what waits in its order, until something ends."""
        for event in self.queue.waiting:
            if self.tell(event, end):
                return

    def tell(self, event: Event, end: Point | None) -> bool:
        """Tell one; whether something has ended on its way."""
        if end is Point.LINK_WHILE_TOLD:
            return True
        if end is Point.PROXY_BEFORE_TAKEN:
            self.start_proxy()
            return True
        if not self.take(event, end):
            return True
        if end is Point.LINK_WHILE_ACKNOWLEDGED:
            return True
        self.acknowledged.add(event.message)
        self.queue.taken(event.incarnation, event.sequence)
        if end is Point.AGENT_BEFORE_LET_GO:
            self.start_agent()
            return True
        self.note()
        if end is Point.AGENT_AFTERWARDS:
            self.start_agent()
        if end is Point.PROXY_AFTERWARDS:
            self.start_proxy()
        return end is not None

    # ---- the proxy ------------------------------------------------------------------------------

    def start_proxy(self) -> None:
        self.book = Book()
        self.book.restore(map(load_incident, self.stored.values()))

    def take(self, event: Event, end: Point | None) -> bool:
        """Take one in and store it; whether it may be acknowledged."""
        told = Occurrence(
            NODE,
            event.incarnation,
            event.sequence,
            event.occurred_at_ms,
            OccurrenceKind(event.kind),
            event.message,
            event.fields,
            event.gap,
        )
        taken = self.book.take(of_occurrence(told), self.now_ms)
        if end is Point.DISK_FULL:
            return False
        if end is Point.PROXY_BEFORE_STORED:
            self.start_proxy()
            return False
        if taken is not None:
            self.stored[taken.incident.id] = dump_incident(taken.incident)
        if end is Point.PROXY_BEFORE_ACKNOWLEDGED:
            self.start_proxy()
            return False
        return True

    # ---- what came of it ------------------------------------------------------------------------

    def in_incidents(self) -> Counter[str]:
        incidents = map(load_incident, self.stored.values())
        return Counter(line.message for one in incidents for line in one.lines)

    def holds(self) -> bool:
        """Whether what was produced is delivered, gapped or waits, also on the disk."""
        kept = self.queue.kept()
        return kept.produced == kept.delivered + kept.gapped + len(kept.waiting)


ENDS = st.sampled_from([None, *Point])
COURSE = st.lists(
    st.tuples(
        st.sampled_from([one for one in OccurrenceKind if one is not OccurrenceKind.OTHER]),
        st.integers(0, 30),
        ENDS,
        st.lists(ENDS, max_size=2),
    ),
    min_size=1,
    max_size=16,
)


@settings(max_examples=40)
@given(COURSE)
def test_wherever_who_is_killed_nothing_told_is_lost_and_nothing_stands_twice(course) -> None:
    world = World()
    for number, (kind, minutes, at_first, later) in enumerate(course):
        world.now_ms += minutes * MINUTE_MS
        world.happens(f"#{number}", kind, at_first)
        for end in later:
            world.deliver(end)
            assert world.holds()
        found = world.in_incidents()
        assert set(found.values()) <= {1}
        assert world.acknowledged <= set(found)
    world.deliver(None)

    assert world.in_incidents() == Counter(world.noted)
    assert world.queue.waiting == ()
    assert world.queue.produced == world.queue.delivered + world.queue.gapped


@settings(max_examples=25)
@given(st.lists(st.integers(0, 2 * ROOM), min_size=1, max_size=8))
def test_what_found_no_room_is_told_as_a_gap_so_that_the_sums_of_both_ends_are_equal(
    bursts,
) -> None:
    """Of as many as happen at once; the proxy counts what it was told since it began."""
    world = World()
    for burst in bursts:
        for number in range(burst):
            world.happens(f"{len(world.noted)}/{number}", OccurrenceKind.NODE_GONE, None)
        world.deliver(None)
    world.happens("the last one", OccurrenceKind.NODE_BACK, None)
    world.deliver(None)
    agent, proxy = world.queue, world.book.tally

    assert (proxy.produced, proxy.delivered, proxy.gapped) == (
        agent.produced,
        agent.delivered,
        agent.gapped,
    )
    assert agent.produced == sum(bursts) + 1
    assert agent.gapped == sum(max(0, burst - ROOM) for burst in bursts)
