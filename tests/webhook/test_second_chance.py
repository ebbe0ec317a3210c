# SPDX-License-Identifier: Apache-2.0
"""A pod that keeps coming back without its agent is let in as it came; times are literal."""

from typing import Any

import pytest

from fodc_webhook.second_chance import SecondChances, Wanted, wanted_of
from tests.webhook.pods import injected, pod

NAMED = pod()


def made_by(uid: str = "rs-1", prefix: str = "db-7c9-") -> Any:
    owner = {"kind": "ReplicaSet", "uid": uid, "controller": True}
    return {"metadata": {"generateName": prefix, "ownerReferences": [owner]}, "spec": {}}


def come(
    chances: SecondChances,
    given: Any,
    *times_s: float,
    namespace: str = "ns",
    dry_run: bool = False,
) -> list[bool]:
    """Whether each coming counts as refused before; a pod that does not is given an agent."""
    said = []
    for now_s in times_s:
        refused = chances.was_refused(given, namespace, now_s)
        said.append(refused)
        note = chances.note_refused if refused else chances.note_injected
        note(given, namespace, now_s, dry_run=dry_run)
    return said


def test_the_third_coming_within_seconds_is_let_in() -> None:
    assert come(SecondChances(), NAMED, 0.0, 0.005, 0.015) == [False, False, True]


def test_it_is_let_in_however_far_apart_a_controller_tries_it_later() -> None:
    """The pauses double up to 1,000 s; a quota may leave room for the database alone by then."""
    times_s = [0.0, 0.005, 0.015, 10.2, 330.0, 1_330.0, 2_330.0]
    assert come(SecondChances(), NAMED, *times_s) == [False, False, *[True] * 5]


def test_twenty_minutes_after_its_last_coming_it_is_tried_with_an_agent_again() -> None:
    said = come(SecondChances(), NAMED, 0.0, 0.0, 0.0, 1_199.9, 2_399.9, 2_400.0)
    assert said == [False, False, True, True, False, False]


def test_a_pod_that_somebody_deletes_again_and_again_keeps_its_agent() -> None:
    assert come(SecondChances(), NAMED, 0.0, 6.0, 12.0, 18.0, 24.0) == [False] * 5


def test_exactly_ten_seconds_are_over() -> None:
    assert come(SecondChances(), NAMED, 0.0, 0.0, 10.0) == [False, False, False]


def test_pods_of_other_names_and_namespaces_count_apart() -> None:
    chances = SecondChances()
    second = {"metadata": {"name": "banyandb-data-1"}}
    assert come(chances, NAMED, 0.0, 1.0) == [False, False]
    assert come(chances, second, 2.0) == [False]
    assert come(chances, NAMED, 2.0, namespace="elsewhere") == [False]
    assert come(chances, NAMED, 3.0) == [True]


def test_a_dry_run_does_not_count() -> None:
    chances = SecondChances()
    assert come(chances, NAMED, 0.0, 1.0, 2.0, 3.0, dry_run=True) == [False] * 4
    assert len(chances) == 0


def test_a_dry_run_keeps_no_verdict() -> None:
    chances = SecondChances()
    assert come(chances, NAMED, 0.0, 1.0) == [False, False]
    assert come(chances, NAMED, 2.0, dry_run=True) == [True]
    assert come(chances, NAMED, 60.0) == [False]


def test_a_second_call_for_one_request_does_not_count() -> None:
    """The pod carries its agent then (reinvocation)."""
    chances, again = SecondChances(), injected(NAMED).pod
    for now_s in (0.0, 1.0):
        assert come(chances, NAMED, now_s) == [False]
        assert come(chances, again, now_s) == [False]
    assert come(chances, NAMED, 2.0) == [True]
    assert come(chances, again, 2.0) == [False]


# ---- pods without a name ----------------------------------------------------------------------


def test_pods_that_a_replica_set_makes_beside_each_other_are_not_refused() -> None:
    """Five replicas come as five pods that look the same."""
    assert come(SecondChances(), made_by(), 0.0, 0.1, 0.1, 0.2, 0.2) == [False] * 5


def test_pods_that_a_replica_set_tries_again_are_let_in_within_a_second() -> None:
    """Its retries: after 5 ms, then twice as long each time."""
    times_s = [0.0, 0.005, 0.015, 0.035, 0.075, 0.155, 0.315]
    assert come(SecondChances(), made_by(), *times_s) == [False] * 5 + [True, True]


def test_pods_of_another_owner_count_apart() -> None:
    chances = SecondChances()
    come(chances, made_by("rs-1"), 0.0, 0.1, 0.2, 0.3, 0.4)
    assert come(chances, made_by("rs-2"), 0.5) == [False]
    assert come(chances, made_by("rs-1"), 0.6) == [True]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (NAMED, Wanted("ns", "banyandb-data-0", "")),
        (made_by(), Wanted("ns", "db-7c9-", "rs-1")),
        ({"metadata": {"name": "a", "generateName": "a-"}}, Wanted("ns", "a", "")),
        ({"metadata": {"generateName": "a-"}}, None),
        (
            {"metadata": {"generateName": "a-", "ownerReferences": [{"uid": "u"}]}},
            None,
        ),
        ({"metadata": {}}, None),
        ({}, None),
    ],
)
def test_a_pod_is_known_by_its_name_or_its_owner(given: Any, expected: Wanted | None) -> None:
    assert wanted_of(given, "ns") == expected


def test_a_pod_that_cannot_be_told_from_others_is_never_refused() -> None:
    given = {"metadata": {"generateName": "a-"}}
    assert come(SecondChances(), given, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6) == [False] * 7


# ---- memory -----------------------------------------------------------------------------------


def test_what_is_ten_seconds_old_is_forgotten() -> None:
    chances = SecondChances()
    for at in range(10):
        come(chances, {"metadata": {"name": f"p-{at}"}}, float(at))
    assert len(chances) == 10
    come(chances, NAMED, 14.5)
    assert len(chances) == 6


def test_no_more_verdicts_are_remembered_than_there_is_room_for() -> None:
    chances = SecondChances(capacity=2)
    for name in ("a", "b", "c"):
        come(chances, {"metadata": {"name": name}}, 0.0, 0.0, 0.0)
    first, last = ({"metadata": {"name": name}} for name in ("a", "c"))
    assert come(chances, last, 100.0) == [True]
    assert come(chances, first, 100.0) == [False]


def test_no_more_is_remembered_than_there_is_room_for() -> None:
    chances = SecondChances(capacity=3)
    for at in range(10):
        come(chances, {"metadata": {"name": f"p-{at}"}}, at / 10)
    assert len(chances) == 3
    assert come(chances, {"metadata": {"name": "p-9"}}, 1.0, 1.1) == [False, True]
    assert come(chances, {"metadata": {"name": "p-0"}}, 1.2, 1.3) == [False, False]
