# SPDX-License-Identifier: Apache-2.0
"""Who asks for captures, on a real API server: stamped by admission, and never another's name."""

import json
import select
from collections.abc import Iterator
from typing import Any

import pytest

from e2e import applied, operators, webhooks
from e2e.controlplane.api import Answer
from e2e.controlplane.cluster import ControlPlane
from e2e.controlplane.installing import collection, new_namespace, resource
from fodc_webhook.kinds import CANCELLED_BY, REQUESTED_BY

DRY = "?dryRun=All"
SPEC = {"target": {"all": True}, "captures": [{"type": "CPUProfile"}]}


@pytest.fixture(scope="module")
def place(webhook: webhooks.Injecting, control_plane: ControlPlane) -> tuple[ControlPlane, str]:
    """A server, and a namespace whose requests the webhook is asked about."""
    return control_plane, webhook.namespace


@pytest.fixture(scope="module")
def webhook(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[webhooks.Injecting]:
    """A namespace whose requests the webhook is asked about; manager and profiler may make some."""
    plane = control_plane
    applied.install(plane)
    home, namespace = new_namespace(plane), new_namespace(plane)
    for user in ("manager", "profiler"):
        applied.bind(plane, namespace, user, "fodc-admin")
    folder = tmp_path_factory.mktemp("requesters")
    with webhooks.injecting(folder, plane, home=home, namespace=namespace) as found:
        operators.wait_for(
            "the webhook is asked",
            lambda: (
                stamped(asked(plane, namespace, "manager", "probe", "?dryRun=All")) == "manager"
            ),
        )
        yield found


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


def test_who_ends_a_request_early_is_written_on_it_and_nobody_writes_anothers_name(
    place: tuple[ControlPlane, str],
) -> None:
    plane, namespace = place
    assert asked(plane, namespace, "manager", "ended").status == 201
    path = f"{collection(namespace, 'diagnosticrequests')}/ended"

    forged = plane.api("profiler").merge(
        path,
        {
            "metadata": {"annotations": {CANCELLED_BY: "manager"}},
            "spec": {"cancel": "Stop"},
        },
    )
    later = plane.api("profiler").merge(
        path, {"metadata": {"annotations": {CANCELLED_BY: "manager"}}}
    )

    assert forged.status == 200
    assert forged.body["metadata"]["annotations"] == {
        REQUESTED_BY: "manager",
        CANCELLED_BY: "profiler",
    }
    assert later.status == 403
    assert "cancelled-by is who ends the request early" in later.message


def test_who_deletes_a_request_is_in_the_audit_of_the_webhook(
    place: tuple[ControlPlane, str], webhook: webhooks.Injecting
) -> None:
    plane, namespace = place
    assert asked(plane, namespace, "manager", "gone").status == 201
    path = f"{collection(namespace, 'diagnosticrequests')}/gone"

    # A trial is nobody's deed.
    assert plane.api("manager").delete(path + DRY).status == 200
    assert plane.api("profiler").delete(path).status == 200

    output = webhook.webhook.process.stdout
    assert output is not None
    assert select.select([output], [], [], 10)[0]
    line = json.loads(output.readline())
    told = (line["audit"], line["caller"], line["resource"])
    assert told == ("deleteDiagnosticRequest", "profiler", f"{namespace}/gone")


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
