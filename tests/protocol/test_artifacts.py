# SPDX-License-Identifier: Apache-2.0
"""Manifests of captured results."""

import dataclasses
import json

import pytest

from fodc_protocol.artifacts import Manifest
from fodc_protocol.errors import ArtifactError, Reason

MANIFEST = Manifest(
    artifact_id="art-1",
    request_id="req-1",
    command_id="cmd-1",
    node="data-0",
    pod="banyandb-data-0",
    role="ROLE_DATA",
    profile="cpu",
    format="pprof",
    size_bytes=24923,
    sha256="a" * 64,
    samples=247,
    started_at_ms=1795244680000,
    finished_at_ms=1795244685000,
    duration_ms=5000,
    warnings=("short",),
    agent_version="0.1.0",
    incarnation="inc-1",
)


def test_manifest_round_trips_through_json():
    text = json.dumps(MANIFEST.to_dict())
    assert Manifest.from_dict(json.loads(text)) == MANIFEST


def test_manifest_without_samples_and_optional_fields():
    data = dataclasses.replace(MANIFEST, samples=None).to_dict()
    for name in ("empty", "truncated", "warnings", "agent_version", "incarnation"):
        del data[name]
    read = Manifest.from_dict(data)
    assert (read.samples, read.empty, read.warnings, read.agent_version) == (None, False, (), "")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"size_bytes": "1"}, "field 'size_bytes' must be of type int"),
        ({"size_bytes": True}, "field 'size_bytes' must be of type int"),
        ({"size_bytes": -1}, "field 'size_bytes' must not be negative"),
        ({"node": None}, "field 'node' must be of type str"),
        ({"empty": 0}, "field 'empty' must be of type bool"),
        ({"sha256": "A" * 64}, "field 'sha256' must be 64 lower-case hex digits"),
        ({"warnings": "one"}, "field 'warnings' must be a list of texts"),
        ({"warnings": [1]}, "field 'warnings' must be a list of texts"),
        ({"extra": 1}, "unknown field 'extra'"),
    ],
)
def test_manifest_refuses_and_names_the_field(change, problem):
    with pytest.raises(ArtifactError, match=problem) as caught:
        Manifest.from_dict({**MANIFEST.to_dict(), **change})
    assert caught.value.reason is Reason.BAD_REQUEST


def test_manifest_names_a_missing_field():
    data = MANIFEST.to_dict()
    del data["sha256"]
    with pytest.raises(ArtifactError, match="field 'sha256' is missing"):
        Manifest.from_dict(data)
