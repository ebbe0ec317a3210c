# SPDX-License-Identifier: Apache-2.0
"""Whatever is killed when: what was acknowledged is stored, and nothing stands in it twice."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from fodc_protocol.occurrences import OccurrenceKind
from fodc_proxy.evidence.incidents.book import Book
from fodc_proxy.evidence.incidents.model import Incident
from fodc_proxy.evidence.incidents.records import dump_incident, load_incident

from .told import MINUTE_MS, NOW_MS, fact


class World:
    """A proxy with a disk, and an agent that repeats what was not acknowledged."""

    def __init__(self) -> None:
        self.disk: dict[str, bytes] = {}
        self.book = Book()
        self.acknowledged: list[int] = []
        self.now_ms = NOW_MS

    def kill_proxy(self) -> None:
        self.book = Book()
        self.book.restore(self.stored())

    def stored(self) -> list[Incident]:
        return [load_incident(data) for data in self.disk.values()]

    def tell(self, number: int, kind: OccurrenceKind, at_ms: int, end: str) -> bool:
        """Tell one occurrence; `end` says what happens on the way. Whether it is acknowledged."""
        told = fact(kind, number, at_ms, message=f"#{number}")
        taken = self.book.take(told, self.now_ms)
        assert taken is not None
        if end == "disk full":
            return False
        if end == "killed before it is stored":
            self.kill_proxy()
            return False
        self.disk[taken.incident.id] = dump_incident(taken.incident)
        if end == "killed before it is acknowledged":
            self.kill_proxy()
            return False
        if end == "acknowledgement lost":
            return False
        self.acknowledged.append(number)
        return True


ENDS = st.sampled_from(
    [
        "well",
        "well",
        "disk full",
        "killed before it is stored",
        "killed before it is acknowledged",
        "acknowledgement lost",
    ]
)
COURSE = st.lists(
    st.tuples(
        st.sampled_from(OccurrenceKind),
        st.integers(0, 30),
        st.lists(ENDS, max_size=3),
    ),
    min_size=1,
    max_size=20,
)


@given(COURSE)
def test_what_was_acknowledged_is_stored_and_nothing_is_double(course) -> None:
    world = World()
    for number, (kind, minutes, ends) in enumerate(course, start=1):
        world.now_ms += minutes * MINUTE_MS
        at_ms = world.now_ms
        for end in ends:
            if world.tell(number, kind, at_ms, end):
                break
        else:
            assert world.tell(number, kind, at_ms, "well")
        for closed in world.book.quiet(world.now_ms):
            world.disk[closed.id] = dump_incident(closed)
    told = Counter(line.message for one in world.stored() for line in one.lines)

    assert world.acknowledged == list(range(1, len(course) + 1))
    assert told == {f"#{number}": 1 for number in world.acknowledged}


@given(COURSE)
def test_what_a_proxy_counts_is_what_was_told_since_it_began(course) -> None:
    world = World()
    for number, (kind, minutes, _) in enumerate(course, start=1):
        world.now_ms += minutes * MINUTE_MS
        world.tell(number, kind, world.now_ms, "well")
        world.tell(number, kind, world.now_ms, "well")
    tally = world.book.tally

    assert tally.produced == tally.delivered + tally.gapped
    assert (tally.delivered, tally.gapped) == (len(course), 0)


@given(st.permutations(range(6)))
def test_the_order_in_which_different_sources_tell_changes_no_count_and_no_cause(order) -> None:
    kinds = ("memory-pressure", "node-gone", "oom-kill", "node-restarted", "crash", "trigger")
    facts = [
        fact(kind, 1, NOW_MS + place * 1000, incarnation=f"i{place}")
        for place, kind in enumerate(kinds)
    ]
    book = Book()
    for place in order:
        book.take(facts[place], NOW_MS + MINUTE_MS)
    (incident,) = book.all()

    assert (incident.cause, incident.count, len(incident.causes)) == ("OOMKilled", 1, 5)
    assert incident.first_at_ms == NOW_MS
