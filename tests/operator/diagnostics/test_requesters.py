# SPDX-License-Identifier: Apache-2.0
"""Who asked by a DiagnosticRequest: in the capture, in the audit, in Events."""

import json
from typing import Any

import pytest

from fodc_operator.diagnostics import auditing
from fodc_operator.resources.diagnostic_request import identity_of
from fodc_proxy.access.audit import Deed, line_of
from tests.operator.diagnostics.scene import NAMESPACE, Play, Scene
from tests.operator.memory_api.server import EVENTS, REQUESTS

STAMP = "fodc.banyandb.dev/requested-by"


def body(**metadata: Any) -> dict[str, Any]:
    known = {"name": "one", "namespace": "db", "uid": "u-1", "generation": 1}
    return {"metadata": {**known, "creationTimestamp": "2026-01-01T00:00:00Z", **metadata}}


@pytest.mark.parametrize(
    ("metadata", "caller", "told"),
    [
        ({"annotations": {STAMP: "jane"}}, "kubernetes:jane", "jane"),
        ({"annotations": {STAMP: "x" * 300}}, "kubernetes:" + "x" * 256, "x" * 256),
        ({"annotations": {STAMP: 7}}, "namespace db", "somebody unknown"),
        ({"annotations": {}}, "namespace db", "somebody unknown"),
        ({}, "namespace db", "somebody unknown"),
    ],
)
def test_the_requester_is_who_admission_stamped(
    metadata: dict[str, Any], caller: str, told: str
) -> None:
    identity = identity_of(body(**metadata))

    assert (auditing.caller_of(identity), auditing.who(identity)) == (caller, told)


def test_the_requester_reaches_the_capture_the_audit_and_the_events(play: Play) -> None:
    async def scene(s: Scene, url: str) -> None:
        s.agent("pod-0")
        metadata = {"name": "one", "annotations": {STAMP: "jane"}}
        spec = {"target": {"all": True}, "captures": [{"type": "HeapSnapshot"}]}
        s.api.store(REQUESTS).create(NAMESPACE, {"metadata": metadata, "spec": spec})
        await s.finish("pod-0")
        await s.until_phase("Succeeded")
        await s.until("its events", lambda: len(s.events()) == 3)
        (request,) = s.world.engine.select()
        notes = [one["note"] for one in s.api.store(EVENTS).objects.values()]

        assert request.caller == "kubernetes:jane"
        assert sorted(notes)[1:] == [
            "captures for jane have started: HeapSnapshot",
            "the request of jane is understood",
        ]
        assert min(notes).startswith("asked by jane")
        (line,) = told(s.deeds)
        assert (line["caller"], line["authenticated"]) == ("jane", "kubernetes")
        assert (line["audit"], line["status"]) == ("createDiagnosticRequest", 201)
        assert (line["nodes"], line["profiles"]) == (["pod-0"], ["heap"])
        assert line["resource"] == f"{NAMESPACE}/one"

    play(scene)


def test_a_request_that_nobody_signed_is_one_of_somebody_unknown(play: Play) -> None:
    async def scene(s: Scene, url: str) -> None:
        s.agent("pod-0")
        s.apply()
        await s.until_phase("Running")
        s.change(cancel="Abort")
        await s.until_phase("Cancelled")

        begun, ended = told(s.deeds)
        assert (begun["caller"], begun["authenticated"]) == ("unknown", "nothing")
        assert (ended["audit"], ended["mode"]) == ("cancelDiagnosticRequest", "abort")

    play(scene)


def told(deeds: list[Deed]) -> list[dict[str, Any]]:
    return [json.loads(line_of(deed)) for deed in deeds]
