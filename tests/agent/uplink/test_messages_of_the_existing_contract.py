# SPDX-License-Identifier: Apache-2.0
"""Messages of the existing contract as the agent writes and reads them, by generated classes."""

import contextlib

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from fodc_agent.occurrences.keeping import PressureRecord
from fodc_agent.occurrences.pressure_profiles import ListedPressure
from fodc_agent.uplink.existing import codec
from fodc_protocol.metrics.samples import MetricType, Series
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as pb

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
LABELS = st.dictionaries(TEXT, TEXT, max_size=4)
TIMES_MS = st.integers(-62_135_596_800_000, 253_402_300_799_999)
READERS = [
    codec.registered,
    codec.metrics_command,
    codec.wants_topology,
    codec.wants_lifecycle,
    codec.wants_crashes,
    codec.wants_registry,
    codec.pressure_command,
]


def stamp(at_ms: int) -> Timestamp:
    seconds, rest_ms = divmod(at_ms, 1000)
    return Timestamp(seconds=seconds, nanos=rest_ms * 1_000_000)


@given(TEXT, LABELS, TEXT, st.lists(TEXT, max_size=3))
def test_a_registration(role, labels, pod_name, containers):
    data = codec.registration(role, labels, pod_name, containers)
    assert pb.RegisterAgentRequest.FromString(data) == pb.RegisterAgentRequest(
        node_role=role, labels=labels, pod_name=pod_name, container_names=containers
    )


@given(st.booleans(), TEXT, st.integers(-(2**63), 2**63 - 1), TEXT)
def test_a_reply_to_it(success, message, interval_s, agent_id):
    reply = pb.RegisterAgentResponse(
        success=success,
        message=message,
        heartbeat_interval_seconds=interval_s,
        agent_id=agent_id,
    )
    assert codec.registered(reply.SerializeToString()) == codec.Registered(
        success, message, interval_s, agent_id
    )


@given(st.none() | TIMES_MS, st.none() | TIMES_MS)
def test_a_command_for_metrics(start_ms, end_ms):
    command = pb.StreamMetricsResponse(
        start_time=None if start_ms is None else stamp(start_ms),
        end_time=None if end_ms is None else stamp(end_ms),
    )
    read = codec.metrics_command(command.SerializeToString())
    assert read == codec.MetricsCommand(start_ms, end_ms)


@given(TEXT, LABELS, st.sampled_from(MetricType), TEXT, st.floats(allow_nan=False), TIMES_MS)
def test_samples_and_the_time_of_their_answer(name, labels, kind, help_text, value, at_ms):
    metric = codec.metric_of(Series(name, tuple(labels.items()), kind, help_text))
    data = codec.sample_of(metric, value, codec.time_of(at_ms)) + codec.sample_of(metric, 0.0)
    wanted = pb.Metric(
        name=name, labels=labels, description=help_text, type=pb.MetricType.Name(kind)
    )
    first, second = pb.Metric(), pb.Metric()
    first.CopyFrom(wanted)
    first.value = value
    first.timestamp.CopyFrom(stamp(at_ms))
    second.CopyFrom(wanted)
    assert pb.StreamMetricsRequest.FromString(
        data + codec.answer_time(at_ms)
    ) == pb.StreamMetricsRequest(metrics=[first, second], timestamp=stamp(at_ms))


def test_answers_about_topology_lifecycle_and_schema_are_empty_and_there():
    ask = pb.StreamClusterTopologyResponse(request_topology=True).SerializeToString()
    topology = codec.no_topology(1_500)
    assert pb.StreamClusterTopologyRequest.FromString(topology) == pb.StreamClusterTopologyRequest(
        timestamp=stamp(1_500), topology=pb.Topology()
    )
    lifecycle = codec.no_lifecycle(1_500, "pod-0")
    assert pb.StreamLifecycleRequest.FromString(lifecycle) == pb.StreamLifecycleRequest(
        timestamp=stamp(1_500), pod_name="pod-0", lifecycle_data=pb.LifecycleData()
    )
    problem, end = map(pb.StreamSchemaRegistryRequest.FromString, codec.no_registry("why"))
    assert (problem.group, problem.done) == (pb.SchemaRegistryGroup(error="why"), False)
    assert end == pb.StreamSchemaRegistryRequest(done=True)
    assert [reader(ask) for reader in READERS[2:6]] == [True] * 4
    assert [bool(reader(b"")) for reader in READERS[2:]] == [False] * 5


def test_pressure_profiles_that_are_listed_and_fetched():
    ask = pb.StreamPressureProfilesResponse(list_profiles=pb.ListProfiles(request_id="r"))
    assert codec.pressure_command(ask.SerializeToString()) == codec.ListPressures("r")
    assert pb.StreamPressureProfilesRequest.FromString(
        codec.pressures_end("r")
    ) == pb.StreamPressureProfilesRequest(list_complete=pb.ListComplete(request_id="r"))

    kept = PressureRecord("p", 1500, 800, 1000, 75, {"heap": "own-1"})
    told = codec.pressure_record(ListedPressure(kept, "http://n:6060/debug/pprof", {"heap": 9}))
    assert pb.StreamPressureProfilesRequest.FromString(told).record == pb.PressureProfileRecord(
        profile_id="p",
        captured_at=stamp(1500),
        source_endpoint="http://n:6060/debug/pprof",
        rss_bytes=800,
        cgroup_limit_bytes=1000,
        trigger_percent=75,
        threshold_bytes=750,
        profiles=[
            pb.PressureProfileInfo(
                type="heap",
                filename="heap.pprof",
                filepath="p/heap.pprof",
                format="pprof",
                size_bytes=9,
            )
        ],
    )

    wanted = pb.FetchPressureProfile(request_id="r", profile_id="p", type="heap", filepath="/x")
    ask = pb.StreamPressureProfilesResponse(fetch_profile=wanted)
    fetch = codec.pressure_command(ask.SerializeToString())
    assert fetch == codec.FetchPressure("r", "p", "heap")
    piece = pb.PressureProfileChunk(request_id="r", profile_id="p", type="heap", data=b"xy")
    end = pb.PressureProfileChunk(
        request_id="r", profile_id="p", type="heap", last=True, error="gone"
    )
    for data, expected in (
        (codec.pressure_chunk(fetch, b"xy"), piece),
        (codec.pressure_chunk(fetch, last=True, error="gone"), end),
    ):
        assert pb.StreamPressureProfilesRequest.FromString(data).chunk == expected


@given(st.sampled_from(READERS), st.binary(max_size=80))
def test_any_bytes_are_read_or_the_one_error(reader, data):
    with contextlib.suppress(codec.MalformedMessageError):
        reader(data)


@pytest.mark.parametrize("reader", READERS)
def test_what_is_cut_is_named(reader):
    with pytest.raises(codec.MalformedMessageError, match=r"^2 bytes are no \w+Response: "):
        reader(b"\x0a\x05")
