# SPDX-License-Identifier: Apache-2.0
"""Manifests and the assembly of chunks."""

import dataclasses
import hashlib
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_protocol.artifacts import (
    Accepted,
    Assembly,
    Complete,
    Manifest,
    Refused,
    Repeated,
    chunks_of,
)
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


def put(assembly, offset, data):
    return assembly.accept(offset, data, zlib.crc32(data))


def test_chunks_in_order_make_a_complete_result():
    assembly = Assembly(max_bytes=100)
    assert put(assembly, 0, b"hello ") == Accepted(6)
    assert put(assembly, 6, b"world") == Accepted(11)
    digest = hashlib.sha256(b"hello world").hexdigest()
    assert assembly.finish(11, digest) == Complete(11, digest)


def test_repeated_chunk_is_acknowledged_and_not_written_again():
    assembly = Assembly(max_bytes=100)
    put(assembly, 0, b"hello ")
    put(assembly, 6, b"world")
    assert put(assembly, 0, b"hello ") == Repeated(11)


def test_overlap_with_other_content_is_refused():
    assembly = Assembly(max_bytes=100)
    put(assembly, 0, b"hello ")
    refused = put(assembly, 0, b"HELLO ")
    assert refused == Refused(Reason.BAD_REQUEST, "chunk at offset 0 overlaps: 6 is next", 6)
    assert put(assembly, 3, b"lo world").next_offset_bytes == 6


def test_gap_is_refused_with_the_offset_to_resume_at():
    assembly = Assembly(max_bytes=100)
    put(assembly, 0, b"hello ")
    refused = put(assembly, 7, b"orld")
    assert refused == Refused(Reason.BAD_REQUEST, "chunk at offset 7 leaves a gap: 6 is next", 6)


def test_damaged_chunk_is_refused_and_can_be_sent_again():
    assembly = Assembly(max_bytes=100)
    refused = assembly.accept(0, b"hello", zlib.crc32(b"hallo"))
    assert (refused.reason, refused.next_offset_bytes) == (Reason.CHECKSUM_MISMATCH, 0)
    assert put(assembly, 0, b"hello") == Accepted(5)


def test_too_much_is_refused():
    assembly = Assembly(max_bytes=4)
    assert put(assembly, 0, b"hello").reason is Reason.TOO_LARGE
    assert assembly.next_offset_bytes == 0


def test_finish_compares_size_and_checksum():
    assembly = Assembly(max_bytes=100)
    put(assembly, 0, b"hello")
    assert assembly.finish(6, "0" * 64).reason is Reason.TRUNCATED
    assert assembly.finish(4, "0" * 64).reason is Reason.TOO_LARGE
    assert assembly.finish(5, "0" * 64).reason is Reason.CHECKSUM_MISMATCH


def test_assembly_resumes_from_what_was_written():
    assembly = Assembly(max_bytes=100)
    assembly.restore([b"hel", b"lo "])
    assert put(assembly, 6, b"world") == Accepted(11)
    digest = hashlib.sha256(b"hello world").hexdigest()
    assert assembly.finish(11, digest) == Complete(11, digest)


def test_chunks_of_nothing_is_one_empty_last_chunk():
    (chunk,) = chunks_of(b"")
    assert (chunk.offset_bytes, chunk.data, chunk.last) == (0, b"", True)


def test_chunks_start_at_the_resume_offset():
    chunks = list(chunks_of(b"abcdefg", chunk_bytes=2, start_bytes=3))
    assert [(one.offset_bytes, one.data, one.last) for one in chunks] == [
        (3, b"de", False),
        (5, b"fg", True),
    ]


@given(st.binary(max_size=60), st.integers(1, 20), st.data())
def test_chunks_arrive_whole_whatever_is_lost_repeated_or_damaged(data, chunk_bytes, choose):
    assembly, written = Assembly(max_bytes=100), bytearray()
    restarts = 0
    while True:
        for chunk in chunks_of(
            data, chunk_bytes=chunk_bytes, start_bytes=assembly.next_offset_bytes
        ):
            fault = choose.draw(st.sampled_from(["", "", "lost", "damaged", "twice"]))
            if restarts > 5:
                fault = ""
            if fault == "lost":
                continue
            crc32 = chunk.crc32 ^ (fault == "damaged")
            for _ in range(2 if fault == "twice" else 1):
                if isinstance(assembly.accept(chunk.offset_bytes, chunk.data, crc32), Accepted):
                    written += chunk.data
        if assembly.next_offset_bytes == len(data):
            break
        restarts += 1
    digest = hashlib.sha256(data).hexdigest()
    assert bytes(written) == data
    assert assembly.finish(len(data), digest) == Complete(len(data), digest)
