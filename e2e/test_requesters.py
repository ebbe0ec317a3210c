# SPDX-License-Identifier: Apache-2.0
"""Who asks for captures, on a real API server: stamped by admission, and never another's name."""

from collections.abc import Iterator
from typing import Any

import pytest

from e2e import applied, operators, webhooks
from e2e.controlplane.api import Answer
from e2e.controlplane.cluster import ControlPlane
from e2e.controlplane.installing import collection, new_namespace, resource
from fodc_webhook.stamp import REQUESTED_BY

DRY = "?dryRun=All"
SPEC = {"target": {"all": True}, "captures": [{"type": "CPUProfile"}]}


@pytest.fixture(scope="module")
def place(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ControlPlane, str]]:
    """A namespace whose requests the webhook is asked about; manager and profiler may make some."""
    plane = control_plane
    applied.install(plane)
    home, namespace = new_namespace(plane), new_namespace(plane)
    for user in ("manager", "profiler"):
        applied.bind(plane, namespace, user, "fodc-admin")
    folder = tmp_path_factory.mktemp("requesters")
    with webhooks.injecting(folder, plane, home=home, namespace=namespace):
        operators.wait_for(
            "the webhook is asked",
            lambda: (
                stamped(asked(plane, namespace, "manager", "probe", "?dryRun=All")) == "manager"
            ),
        )
        yield plane, namespace


def asked(
    plane: ControlPlane, namespace: str, user: str, name: str, query: str = "", **said: str
) -> Answer:
    body = resource("DiagnosticRequest", name, spec=SPEC)
    body["metadata"]["annotations"] = said
    return plane.api(user).create(collection(namespace, "diagnosticrequests") + query, body)


def stamped(answer: Answer) -> Any:
    return answer.body.get("metadata", {}).get("annotations", {}).get(REQUESTED_BY)


def test_a_request_is_signed_by_who_creates_it_whatever_it_says(
    place: tuple[ControlPlane, str],
) -> None:
    plane, namespace = place

    plain = asked(plane, namespace, "manager", "plain")
    forged = asked(plane, namespace, "profiler", "forged", **{REQUESTED_BY: "manager"})

    assert (plain.status, stamped(plain)) == (201, "manager")
    assert (forged.status, stamped(forged)) == (201, "profiler")


def test_nobody_changes_or_removes_the_signature(place: tuple[ControlPlane, str]) -> None:
    plane, namespace = place
    assert asked(plane, namespace, "manager", "kept").status == 201
    path = f"{collection(namespace, 'diagnosticrequests')}/kept"

    for value in ("profiler", None):
        answer = plane.api("profiler").merge(
            path, {"metadata": {"annotations": {REQUESTED_BY: value}}}
        )
        assert answer.status == 403
        assert "is who created the object; leave it as it is" in answer.message

    ended = plane.api("profiler").merge(path, {"spec": {"cancel": "Stop"}})
    assert (ended.status, stamped(ended)) == (200, "manager")


def test_without_the_webhook_nobody_gets_away_with_anothers_name(
    place: tuple[ControlPlane, str],
) -> None:
    """The configuration of the test asks about one namespace; here nobody is asked."""
    plane, _ = place
    elsewhere = new_namespace(plane)
    applied.bind(plane, elsewhere, "profiler", "fodc-admin")

    forged = asked(plane, elsewhere, "profiler", "forged", **{REQUESTED_BY: "manager"})
    own = asked(plane, elsewhere, "profiler", "own", **{REQUESTED_BY: "profiler"})
    unsigned = asked(plane, elsewhere, "profiler", "unsigned")

    assert forged.status == 403
    assert "is who creates the object, profiler: leave it out" in forged.message
    assert (own.status, stamped(own)) == (201, "profiler")
    assert (unsigned.status, stamped(unsigned)) == (201, None)


def test_the_event_of_a_request_names_who_asked(place: tuple[ControlPlane, str]) -> None:
    plane, namespace = place
    assert asked(plane, namespace, "manager", "told").status == 201
    path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"

    def notes() -> list[str]:
        found = plane.api().get(path).body["items"]
        return [one["note"] for one in found if one["regarding"]["name"] == "told"]

    operators.wait_for("the Events name manager", lambda: any("manager" in one for one in notes()))
