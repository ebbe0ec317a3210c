# SPDX-License-Identifier: Apache-2.0
"""The hand-written codec against the classes generated from fodc/v1/agent_link.proto."""

import contextlib
import dataclasses
from enum import IntEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_agent.uplink import codec
from fodc_protocol.configuration import ConfigEntry
from fodc_protocol.link import frames
from fodc_protocol.metrics.families import FamilyBlock
from fodc_protocol.metrics.samples import Series
from fodc_protocol.protobuf import Fields, fields, varint
from fodc_wire.fodc.v1 import agent_link_pb2 as pb

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
I64 = st.integers(-(2**63), 2**63 - 1)
MAP = st.dictionaries(TEXT, TEXT, max_size=3)
TYPE = st.integers(0, 5)


def many(strategy):
    return st.lists(strategy, max_size=3).map(tuple)


IDENTITY = st.builds(
    frames.Identity,
    TEXT,
    TEXT,
    TEXT,
    TEXT,
    TEXT,
    TEXTS,
    many(st.builds(frames.Address, TEXT, TEXT, U32)),
)
CONDITIONS = many(st.builds(frames.Condition, TEXT, TEXT, TEXT))
STATE = st.builds(
    frames.NodeState,
    TEXT,
    MAP,
    many(st.builds(frames.CapabilityState, TEXT, TEXT, TEXT, TEXT)),
    st.none() | st.builds(frames.WindowExtent, I64, I64, U32, U64),
    TEXT,
    U32,
    U64,
    CONDITIONS,
)
ARTIFACT = st.builds(frames.Artifact, TEXT, TEXT, U64, TEXT, U64, I64, I64, st.booleans(), TEXTS)
AGENT_FRAMES = st.one_of(
    st.builds(frames.Hello, U32, U32, TEXT, IDENTITY, TEXT, STATE, TEXTS),
    st.builds(frames.Heartbeat, U64, st.none() | STATE),
    st.builds(
        frames.MetricsPage, U64, I64,
        many(st.builds(FamilyBlock, TEXT, TYPE, TEXT, st.binary(max_size=20), U32)),
        st.booleans(),
    ),
    st.builds(
        frames.WindowPart, U64, U64,
        many(st.builds(Series, TEXT, many(st.tuples(TEXT, TEXT)), TYPE, TEXT)),
        many(I64), st.binary(max_size=20), st.booleans(),
    ),
    st.builds(
        frames.Configuration, U64, U64, TEXT, I64,
        many(st.builds(ConfigEntry, TEXT, TEXT, TEXT, st.booleans())), CONDITIONS,
    ),
    st.builds(frames.QueryFailed, U64, TEXT, TEXT),
    st.builds(
        frames.CommandUpdate, TEXT, st.sampled_from(frames.CommandState), TEXT, TEXT, U32,
        st.none() | ARTIFACT,
    ),
    st.builds(frames.ArtifactChunk, TEXT, U64, st.binary(max_size=20), U32),
    st.builds(frames.Event, U64, I64, TEXT, TEXT, MAP, TEXT, U64),
    st.builds(frames.Evidence, U64, st.binary(max_size=20), st.booleans(), st.booleans()),
)  # fmt: skip


def plain(value):
    """Return a frame as plain data: what a generated message is reduced to as well."""
    if dataclasses.is_dataclass(value):
        return {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, IntEnum):
        return int(value)
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def of_message(message):
    """Return a generated message as plain data; unset messages are None."""
    shown = {}
    for one in message.DESCRIPTOR.fields:
        value = getattr(message, one.name)
        if one.message_type is not None and one.message_type.GetOptions().map_entry:
            shown[one.name] = dict(value)
        elif one.message_type is not None and one.is_repeated:
            shown[one.name] = [of_message(item) for item in value]
        elif one.message_type is not None:
            shown[one.name] = of_message(value) if message.HasField(one.name) else None
        elif one.is_repeated:
            shown[one.name] = list(value)
        else:
            shown[one.name] = value
    return shown


def with_flat_labels(shown):
    """A series' labels are pairs in the frame and alternate on the wire."""
    for series in shown.get("series", ()):
        series["labels"] = [text for pair in series["labels"] for text in pair]
    return shown


@given(AGENT_FRAMES)
def test_every_agent_frame_is_what_the_contract_says(frame):
    wire = pb.AgentFrame.FromString(codec.encode(frame))
    kind = wire.WhichOneof("frame")
    assert kind is not None
    assert of_message(getattr(wire, kind)) == with_flat_labels(plain(frame))


PROXY_FRAMES = st.one_of(
    st.builds(frames.Welcome, U32, TEXT, U32, TEXT, TEXT, U32).map(
        lambda frame: ("welcome", frame)
    ),
    st.builds(frames.Refusal, TEXT, TEXT, U32).map(lambda frame: ("refusal", frame)),
    st.builds(frames.HeartbeatAck, U64).map(lambda frame: ("heartbeat_ack", frame)),
    st.builds(frames.MetricsQuery, U64).map(lambda frame: ("metrics_query", frame)),
    st.builds(frames.WindowQuery, U64, I64, I64).map(lambda frame: ("window_query", frame)),
    st.builds(frames.ConfigurationQuery, U64).map(lambda frame: ("configuration_query", frame)),
    st.builds(
        frames.StartCapture,
        TEXT.filter(bool),
        TEXT,
        U32,
        U32,
        st.booleans(),
        U64,
        TEXT,
        I64,
        U64,
    ).map(lambda frame: ("start_capture", frame)),
    st.builds(frames.CancelCapture, TEXT, st.sampled_from(frames.CancelMode)).map(
        lambda frame: ("cancel_capture", frame)
    ),
    st.builds(frames.ArtifactAck, TEXT, U64, U32, st.booleans()).map(
        lambda frame: ("artifact_ack", frame)
    ),
    st.builds(frames.EventAck, U64, TEXT).map(lambda frame: ("event_ack", frame)),
    st.builds(frames.TopologyQuery, U64).map(lambda frame: ("topology_query", frame)),
    st.builds(frames.LifecycleQuery, U64).map(lambda frame: ("lifecycle_query", frame)),
    st.builds(frames.CrashesQuery, U64).map(lambda frame: ("crashes_query", frame)),
    st.builds(frames.RegistryQuery, U64).map(lambda frame: ("registry_query", frame)),
)


@given(PROXY_FRAMES)
def test_every_proxy_frame_is_read_as_the_contract_says(kind_and_frame):
    kind, frame = kind_and_frame
    shown = plain(frame)
    message = type(getattr(pb.ProxyFrame(), kind))(**shown)
    wire = pb.ProxyFrame(**{kind: message})
    assert codec.decode(wire.SerializeToString()) == frame


@given(st.binary(max_size=64))
def test_any_bytes_are_a_frame_an_unknown_one_or_malformed(data):
    with contextlib.suppress(codec.MalformedFrameError):
        codec.decode(data)


@pytest.mark.parametrize("data", [b"\x0a\x05ab", b"\x00", b"\x0b", b"\xff" * 11, b"\x08"])
def test_broken_bytes_are_malformed(data):
    with pytest.raises(codec.MalformedFrameError):
        codec.decode(data)


def test_a_frame_of_a_newer_proxy_is_unknown():
    assert codec.decode(b"\xca\x0c\x02hi") is None
    assert codec.decode(b"") is None


def test_a_capture_without_an_id_is_malformed():
    with pytest.raises(codec.MalformedFrameError):
        codec.decode(
            pb.ProxyFrame(start_capture=pb.StartCapture(profile="cpu")).SerializeToString()
        )


def test_a_cancel_mode_of_a_newer_proxy_keeps_what_there_is():
    wire = pb.ProxyFrame(cancel_capture=pb.CancelCapture(command_id="c", mode=9))
    assert codec.decode(wire.SerializeToString()) == frames.CancelCapture(
        "c", frames.CancelMode.STOP
    )


def test_text_that_is_no_unicode_does_not_break_a_frame():
    wire = pb.AgentFrame.FromString(codec.encode(frames.QueryFailed(1, "x", "a\udcffb")))
    assert wire.query_failed.message == "a?b"


@given(U64)
def test_a_varint_reads_as_it_was_written(value):
    assert list(fields(b"\x08" + varint(value))) == [(1, value)]


def test_numbers_are_read_packed_and_one_by_one():
    assert Fields(b"\x12\x02\x01\x03\x10\x02").numbers(2) == (1, 3, 2)
