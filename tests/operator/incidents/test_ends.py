# SPDX-License-Identifier: Apache-2.0
"""How containers ended, out of the status of a pod; and the end of what they wrote."""

import pytest

from fodc_operator.incidents.ends import Ended, ends_of, has_agent, kept_of, machine_of
from fodc_operator.incidents.log_tails import MOST_KEPT_BYTES, tail_of
from fodc_proxy.evidence.incidents.model import ContainerEnd

from .ended_pods import NOON_MS, pod, status, terminated

OOM_KILLED = ContainerEnd("banyandb", "OOMKilled", 137, 0, "", 3, NOON_MS - 3_600_000, NOON_MS)


def test_a_container_that_runs_again_tells_of_the_process_before() -> None:
    found = list(ends_of(pod(status(last=terminated(), restarts=3))))

    assert found == [Ended(OOM_KILLED, is_previous=True)]


def test_the_same_end_has_the_same_number_before_and_after_the_restart() -> None:
    before = next(ends_of(pod(status(state=terminated(), last=terminated(code=1), restarts=2))))
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    between = next(ends_of(pod(status(state=waiting, last=terminated(), restarts=3))))

    assert (before, between) == (Ended(OOM_KILLED, is_previous=False), Ended(OOM_KILLED, True))


def test_a_container_that_never_ended_tells_nothing() -> None:
    assert list(ends_of(pod(status()))) == []
    assert list(ends_of({"metadata": {"name": "x"}})) == []


def test_the_end_of_the_agent_is_no_end_of_the_node() -> None:
    assert (
        list(ends_of(pod(status("fodc-agent", last=terminated(), restarts=1), agent=False))) == []
    )


def test_who_deletes_a_pod_ends_its_containers_and_nothing_happened() -> None:
    leaving = {"deletionTimestamp": "2026-11-18T12:00:00Z"}

    assert list(ends_of(pod(status(state=terminated("Error", 143)), **leaving))) == []
    assert len(list(ends_of(pod(status(state=terminated()), **leaving)))) == 1


def test_an_eviction_is_told_with_the_end() -> None:
    evicted = pod(status(state=terminated("Error", 137)))
    evicted["status"] |= {"reason": "Evicted", "message": "the node was low on memory"}

    (found,) = ends_of(evicted)

    assert found.end.message == "Evicted: the node was low on memory"


@pytest.mark.parametrize("odd", [None, [], {"terminated": "x"}, {"terminated": {"exitCode": "1"}}])
def test_a_status_that_lacks_anything_is_read_as_far_as_it_goes(odd: object) -> None:
    list(ends_of(pod({"name": "banyandb", "state": odd, "lastState": odd, "restartCount": "2"})))


def test_little_of_a_pod_is_kept_in_memory() -> None:
    whole = pod(status(last=terminated(), restarts=3), managedFields=["much"])
    kept = kept_of(whole)

    assert "much" not in str(kept)
    assert list(ends_of(kept)) == list(ends_of(whole))
    assert (has_agent(kept), machine_of(kept)) == (True, "machine-1")


def test_the_end_of_a_log_has_no_secrets_and_whole_lines() -> None:
    text = tail_of(b"first\npassword=hunter2hunter2\n\x1b[31mfatal error: \xff\n")

    assert text.startswith("first\npassword=")
    assert "hunter2" not in text
    assert text.endswith("?[31mfatal error: \ufffd\n")


def test_the_end_of_a_long_log_is_its_last_lines() -> None:
    text = tail_of(b"".join(b"line %06d\n" % number for number in range(20_000)))

    assert len(text.encode()) <= MOST_KEPT_BYTES
    lines = text.splitlines()
    assert lines[-1] == "line 019999"
    assert all(len(line) == len("line 000000") for line in lines)
