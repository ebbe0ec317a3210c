# SPDX-License-Identifier: Apache-2.0
"""DiagnosticRequests while the API server refuses, forgets and cuts: done once, told rightly.

The one idea: a proxy before the real API server spoils answers of the operator's own connection
only; whatever it spoils, a capture is made exactly once and the status is whole in the end.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from e2e import operators
from e2e.controlplane.cluster import ControlPlane
from e2e.faults import Fault, FaultyServer, faulty
from e2e.sites import Site, conditions


@pytest.fixture(scope="module")
def spoiled(
    tmp_path_factory: pytest.TempPathFactory, control_plane: ControlPlane
) -> Iterator[FaultyServer]:
    """The API server as the operator reaches it."""
    with faulty(control_plane, tmp_path_factory.mktemp("faults")) as server:
        yield server


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, control_plane: ControlPlane, spoiled: FaultyServer
) -> Iterator[Site]:
    """An operator behind the faults, and two nodes."""
    folder = tmp_path_factory.mktemp("diagnostics-faults")
    made = Site(folder, control_plane, spoiled.kubeconfig)
    with made.stack:
        yield made


@pytest.fixture(autouse=True)
def _unspoiled_afterwards(spoiled: FaultyServer) -> Iterator[None]:
    yield
    spoiled.faults.clear()
    spoiled.expired_watches = 0


def refusing(site: Site, name: str, refusal: str, body: str = "") -> Fault:
    """A fault of the writes of this request's status."""
    path = f"/namespaces/{site.namespace}/diagnosticrequests/{name}/status"
    return Fault(method="PATCH", path=path, body=body, **REFUSALS[refusal])


def stored(site: Site, status: dict[str, Any]) -> list[str]:
    """Ids of the artifacts that a request has given."""
    found = site.ask(f"/artifacts?request_id={status['requestID']}")["artifacts"]
    return [one["artifact_id"] for one in found]


def assert_done_once(site: Site, name: str) -> None:
    """One attempt, one artifact that can be fetched, and a status that tells all of it."""
    site.wait(name, "Succeeded")
    status = site.until(name, lambda one: bool(one.get("targets")))
    (target,) = status["targets"]
    (result,) = target["results"]
    body = site.download(result)

    assert (status["phase"], status["progress"]) == ("Succeeded", "1/1")
    assert status["counts"] == {
        "targets": 1,
        "pending": 0,
        "running": 0,
        "succeeded": 1,
        "failed": 0,
        "skipped": 0,
        "cancelled": 0,
    }
    assert status["artifacts"] == {"count": 1, "bytes": len(body)}
    assert (target["nodeName"], target["phase"], target["attempts"]) == ("pod-0", "Succeeded", 1)
    assert result["sha256"] == hashlib.sha256(body).hexdigest()
    assert stored(site, status) == [result["artifactID"]]
    assert conditions(status) == {
        "Accepted": ("True", "Valid"),
        "TargetsResolved": ("True", "Resolved"),
        "Started": ("True", "Captures"),
        "Succeeded": ("True", "Succeeded"),
        "Finished": ("True", "Succeeded"),
    }
    operators.wait_for("its last event", lambda: "Succeeded" in site.events(name))
    told = site.events(name)
    assert len(told) == len(set(told)), told


def is_running(status: dict[str, Any]) -> bool:
    return bool(status.get("phase") == "Running")


# ---- refusals -----------------------------------------------------------------------------------

REFUSALS: dict[str, dict[str, Any]] = {
    "429-and-retry-after": {"status": 429, "times": 3, "headers": {"Retry-After": "1"}},
    "500": {"status": 500, "times": 5},
    "503": {"status": 503, "times": 2},
    "409": {"status": 409, "times": 3},
    "422-of-details": {"status": 422, "times": 1},
    "422-of-all": {"status": 422, "times": 2},
}


@pytest.mark.parametrize("refusal", REFUSALS, ids=list(REFUSALS))
def test_a_request_is_done_once_when_its_first_status_is_refused(
    site: Site, spoiled: FaultyServer, refusal: str
) -> None:
    name = f"first-{refusal}"
    fault = refusing(site, name, refusal)
    spoiled.faults.append(fault)
    site.apply(name, captures=[{"type": "CPUProfile", "durationSeconds": 1}])
    assert_done_once(site, name)
    assert fault.times == 0


@pytest.mark.parametrize("refusal", REFUSALS, ids=list(REFUSALS))
def test_a_request_is_done_once_when_its_last_status_is_refused(
    site: Site, spoiled: FaultyServer, refusal: str
) -> None:
    """The last one is that which tells of the end."""
    name = f"last-{refusal}"
    fault = refusing(site, name, refusal, body="completionTime")
    spoiled.faults.append(fault)
    site.apply(name, captures=[{"type": "CPUProfile", "durationSeconds": 1}])
    assert_done_once(site, name)
    assert fault.times == 0


def test_a_request_is_done_once_when_nodes_cannot_be_listed_at_first(
    site: Site, spoiled: FaultyServer
) -> None:
    """410 is what a list that takes too long ends in."""
    faults = [Fault(410, "GET", "fodcnodes", times=2), Fault(403, "GET", "fodcnodes", times=1)]
    spoiled.faults += faults
    site.apply("unlisted", captures=[{"type": "HeapSnapshot"}])
    assert_done_once(site, "unlisted")
    assert [fault.times for fault in faults] == [0, 0]


def test_a_request_is_done_once_when_its_events_are_refused(
    site: Site, spoiled: FaultyServer
) -> None:
    faults = [Fault(500, "POST", "/events", times=2), Fault(409, "POST", "/events", times=1)]
    spoiled.faults += faults
    site.apply("uneventful", captures=[{"type": "CPUProfile", "durationSeconds": 1}])
    assert_done_once(site, "uneventful")
    assert [fault.times for fault in faults] == [0, 0]


# ---- watches ------------------------------------------------------------------------------------


@pytest.mark.parametrize("expired", [0, 2], ids=["cut", "cut-and-history-gone"])
def test_a_running_request_is_done_once_when_every_watch_breaks(
    site: Site, spoiled: FaultyServer, expired: int
) -> None:
    name = f"running-{expired}"
    site.apply(name, captures=[{"type": "CPUProfile", "durationSeconds": 3}])
    site.until(name, is_running)
    spoiled.expired_watches = expired
    assert operators.wait_for("a watch", spoiled.cut_watches) >= 1
    assert_done_once(site, name)
    assert spoiled.expired_watches == 0


@pytest.mark.parametrize("expired", [0, 2], ids=["cut", "cut-and-history-gone"])
def test_what_is_asked_while_the_watch_is_broken_is_done_once(
    site: Site, spoiled: FaultyServer, expired: int
) -> None:
    asked = f"asked-{expired}"
    site.apply("long", captures=[{"type": "CPUProfile", "durationSeconds": 60}])
    site.until("long", is_running)
    spoiled.expired_watches = expired
    assert operators.wait_for("a watch", spoiled.cut_watches) >= 1
    site.apply(asked, target={"names": ["pod-0"]}, captures=[{"type": "HeapSnapshot"}])
    site.kubectl("delete", "diagnosticrequest", "long", "--timeout=5s")
    assert_done_once(site, asked)

    def nothing_runs() -> bool:
        return site.ask("/diagnostics/requests?phase=Running")["requests"] == []

    operators.wait_for("the deleted one is aborted", nothing_runs, 20)
