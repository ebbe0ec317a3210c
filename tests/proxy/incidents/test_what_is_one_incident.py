# SPDX-License-Identifier: Apache-2.0
"""Which facts are one incident, what it is called, and how often it happened."""

import itertools

import pytest

from fodc_api.words import IncidentCause, IncidentPhase
from fodc_proxy.evidence.incidents.book import Book, Tally
from fodc_proxy.evidence.incidents.model import Held

from .told import HOUR_MS, MINUTE_MS, NOW_MS, SECOND_MS, fact, pod_fact


def told(*facts, book: Book | None = None, now_ms: int = NOW_MS) -> Book:
    book = book or Book()
    for one in facts:
        book.take(one, max(now_ms, one.at_ms))
    return book


OOM_KILL = (
    lambda: fact("memory-pressure", 1, NOW_MS - 20 * SECOND_MS),
    lambda: fact("node-gone", 2, NOW_MS),
    lambda: fact("oom-kill", 3, NOW_MS + 100),
    lambda: pod_fact(reason="OOMKilled", at_ms=NOW_MS + 1_000),
    lambda: fact("node-restarted", 4, NOW_MS + 2_000),
    lambda: fact("node-back", 5, NOW_MS + 9_000),
)


def test_all_that_is_told_of_one_oom_kill_is_one_incident() -> None:
    book = told(*(one() for one in OOM_KILL))

    (incident,) = book.all()
    assert incident.cause is IncidentCause.OOM_KILLED
    assert incident.causes == (
        IncidentCause.OOM_KILLED,
        IncidentCause.PROCESS_GONE,
        IncidentCause.MEMORY_PRESSURE,
    )
    assert incident.count == 1
    assert (incident.first_at_ms, incident.last_at_ms) == (NOW_MS - 20_000, NOW_MS + 9_000)
    assert [line.kind for line in incident.lines] == [
        "memory-pressure",
        "node-gone",
        "oom-kill",
        "container-ended",
        "node-restarted",
        "node-back",
    ]
    assert incident.container_end is not None
    assert incident.container_end.exit_code == 137


def test_who_tells_first_does_not_matter() -> None:
    agent = [OOM_KILL[number] for number in (0, 1, 2, 4)]
    for place in range(5):
        order = [*agent[:place], OOM_KILL[3], *agent[place:]]

        (incident,) = told(*(one() for one in order)).all()

        assert (incident.cause, incident.count) == (IncidentCause.OOM_KILLED, 1)
        assert [line.at_ms for line in incident.lines] == sorted(
            line.at_ms for line in incident.lines
        )


def test_what_happens_again_while_it_is_open_is_counted() -> None:
    facts = itertools.chain.from_iterable(
        (
            fact("node-gone", 2 * turn + 1, NOW_MS + turn * 5 * MINUTE_MS),
            fact("crash", 2 * turn + 2, NOW_MS + turn * 5 * MINUTE_MS + 300),
        )
        for turn in range(4)
    )

    (incident,) = told(*facts).all()

    assert (incident.cause, incident.count) == (IncidentCause.CRASHED, 4)
    assert incident.first_at_ms == NOW_MS
    assert incident.last_at_ms == NOW_MS + 15 * MINUTE_MS + 300


def test_another_cause_minutes_later_is_another_incident() -> None:
    book = told(
        fact("node-unreachable", 1),
        fact("node-back", 2, NOW_MS + 30 * SECOND_MS),
        fact("oom-kill", 3, NOW_MS + 8 * MINUTE_MS),
    )

    assert [one.cause for one in book.all()] == [
        IncidentCause.UNREACHABLE,
        IncidentCause.OOM_KILLED,
    ]


def test_each_node_has_its_own() -> None:
    book = told(fact("oom-kill", pod="data-0"), fact("oom-kill", pod="data-1"))

    assert [one.address for one in book.all()] == ["banyandb/data-0", "banyandb/data-1"]
    assert len({one.id for one in book.all()}) == 2


def test_a_closed_one_takes_in_what_is_late_and_nothing_that_is_new() -> None:
    book = told(fact("node-gone", 1))
    assert book.quiet(NOW_MS + 10 * MINUTE_MS - 1) == ()
    (closed,) = book.quiet(NOW_MS + 10 * MINUTE_MS)
    assert closed.phase is IncidentPhase.CLOSED
    later_ms = NOW_MS + HOUR_MS

    late = book.take(fact("crash", 2, NOW_MS + SECOND_MS), later_ms)
    new = book.take(fact("node-gone", 3, later_ms), later_ms)

    assert late is not None
    assert new is not None
    assert (late.incident.id, late.incident.cause) == (closed.id, IncidentCause.CRASHED)
    assert late.incident.phase is IncidentPhase.CLOSED
    assert new.is_new
    assert new.incident.id != closed.id


def test_a_node_that_is_back_joins_the_last_incident_however_long_it_was_away() -> None:
    book = told(fact("node-gone", 1))
    book.quiet(NOW_MS + HOUR_MS)

    taken = book.take(fact("node-back", 2, NOW_MS + 3 * HOUR_MS), NOW_MS + 3 * HOUR_MS)

    assert taken is not None
    assert not taken.is_new
    assert taken.incident.last_at_ms == NOW_MS + 3 * HOUR_MS


@pytest.mark.parametrize(
    ("reason", "exit_code", "cause"),
    [
        ("OOMKilled", 137, IncidentCause.OOM_KILLED),
        ("Error", 137, IncidentCause.KILLED),
        ("Error", 139, IncidentCause.KILLED),
        ("Error", 2, IncidentCause.EXITED),
        ("Completed", 0, IncidentCause.EXITED),
        ("Error", 255, IncidentCause.EXITED),
    ],
)
def test_the_kubelets_words_say_why(reason: str, exit_code: int, cause: IncidentCause) -> None:
    (incident,) = told(pod_fact(reason=reason, exit_code=exit_code)).all()

    assert incident.cause is cause
    assert incident.message.startswith("container data ended")


def test_telling_it_again_changes_nothing() -> None:
    book = told(*(one() for one in OOM_KILL))
    before = book.all()

    again = [book.take(one(), NOW_MS + 9_000) for one in OOM_KILL]

    assert [one.is_changed for one in again if one is not None] == [False] * len(OOM_KILL)
    assert [one.lines for one in book.all()] == [one.lines for one in before]


def test_what_was_told_is_known_after_a_restart() -> None:
    before = told(*(one() for one in OOM_KILL)).all()
    book = Book()
    book.restore(before)

    again = [book.take(one(), NOW_MS + 9_000) for one in OOM_KILL]

    assert [one.is_changed for one in again if one is not None] == [False] * len(OOM_KILL)
    assert book.tally == Tally()


def test_what_is_produced_is_delivered_or_a_gap() -> None:
    book = told(fact("node-gone", 1), fact("node-back", 2), fact("node-gone", 7, gap=4))
    told(fact("node-gone", 1, incarnation="i2", gap=1), fact("node-gone", 7), book=book)

    assert book.tally == Tally(produced=9, delivered=4, gapped=5)


def test_a_gap_is_not_told_twice_by_what_follows_a_removed_incident() -> None:
    book = told(fact("node-gone", 1))
    book.remove(book.all()[0].id)

    assert book.take(fact("node-gone", 1), NOW_MS) is None
    book.take(fact("node-back", 2), NOW_MS)

    assert book.tally == Tally(produced=2, delivered=2, gapped=0)


def test_a_clock_that_is_wrong_by_years_is_not_believed() -> None:
    book = told(fact("node-gone", 1, 0), fact("node-gone", 2, NOW_MS * 2, pod="data-1"))

    assert [one.first_at_ms for one in book.all()] == [NOW_MS, NOW_MS * 2]
    book.take(fact("node-gone", 3, NOW_MS * 2, pod="data-2"), NOW_MS)
    assert book.all()[-1].first_at_ms == NOW_MS


def test_a_thousand_things_told_are_the_first_and_the_last_of_them() -> None:
    book = told(*(fact("node-gone", n, NOW_MS + n) for n in range(1, 1001)))

    (incident,) = book.all()

    assert len(incident.lines) == 64
    assert [line.at_ms - NOW_MS for line in incident.lines[:2]] == [1, 2]
    assert incident.lines[-1].at_ms == NOW_MS + 1000
    assert (incident.lines_omitted, incident.count) == (936, 1000)


def test_an_artifact_belongs_to_the_incident_it_was_taken_near_to() -> None:
    book = told(fact("node-gone", 1))

    near = book.captured("banyandb/data-0", Held("art-1", "heap"), NOW_MS - 5 * MINUTE_MS)
    far = book.captured("banyandb/data-0", Held("art-2", "heap"), NOW_MS - HOUR_MS)
    other = book.captured("banyandb/data-1", Held("art-3", "heap"), NOW_MS)
    again = book.captured("banyandb/data-0", Held("art-1", "heap"), NOW_MS)

    assert [len(one) for one in (near, far, other, again)] == [1, 0, 0, 0]
    assert book.all()[0].artifact_ids == {"art-1"}


def test_captures_that_an_agent_took_are_named_and_their_outcome_is_noted() -> None:
    captures = "heap=own-a1, goroutine=own-b2,=x,cpu=,trash"
    book = told(fact("memory-pressure", 1, captures=captures))

    assert [(c.profile, c.command_id) for c in book.all()[0].captures] == [
        ("heap", "own-a1"),
        ("goroutine", "own-b2"),
    ]
    book.fetched("own-a1", "art-1", "")
    book.fetched("own-b2", "", "the agent lost it")
    book.fetched("own-b2", "art-9", "")
    heap, goroutine = book.all()[0].captures
    assert (heap.artifact_id, heap.is_open) == ("art-1", False)
    assert (goroutine.failed, goroutine.artifact_id) == ("the agent lost it", "")


def test_secrets_in_what_is_told_are_masked() -> None:
    (incident,) = told(fact("crash", message="panic: password=hunter2hunter2")).all()

    assert "hunter2" not in incident.message
    assert "hunter2" not in incident.lines[0].message


def test_fields_that_a_kind_does_not_have_are_left_out() -> None:
    (incident,) = told(fact("node-gone", pid="7", percent="80", odd="x")).all()

    assert incident.lines[0].fields == {"pid": "7"}
