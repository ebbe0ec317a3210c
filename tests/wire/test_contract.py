# SPDX-License-Identifier: Apache-2.0
"""The contract does not move: stored frames, recorded messages of the Go programs, method names."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from google.protobuf import text_format
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from fodc_wire.banyandb.fodc.v1 import rpc_pb2
from fodc_wire.fodc.v1 import agent_link_pb2
from fodc_wire.fodc.view.v1 import metrics_pb2

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "proto" / "golden"
RECORDED = ROOT / "tests" / "data" / "grpc"


def _golden_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden", ROOT / "proto" / "golden.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


golden = _golden_module()
EXPECTED = {
    name: descriptor for descriptor in golden.messages() for name, _ in golden.examples(descriptor)
}


def test_every_message_has_a_golden_frame_and_a_readable_twin() -> None:
    stored = {path.stem for path in GOLDEN.glob("*.hex")}
    twins = {path.stem for path in GOLDEN.glob("*.txtpb")}

    assert stored == set(EXPECTED)
    assert twins == set(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_golden_bytes_and_their_twin_are_the_same_message(name: str) -> None:
    stored = bytes.fromhex((GOLDEN / f"{name}.hex").read_text())
    twin = GetMessageClass(EXPECTED[name])()
    text_format.Parse((GOLDEN / f"{name}.txtpb").read_text(), twin)

    assert twin.SerializeToString(deterministic=True) == stored


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_golden_frame_sets_every_field(name: str) -> None:
    descriptor = EXPECTED[name]
    message = GetMessageClass(descriptor)()
    message.MergeFromString(bytes.fromhex((GOLDEN / f"{name}.hex").read_text()))

    present = {field.name for field, _ in message.ListFields()}
    branch = name.removeprefix(descriptor.full_name).removeprefix(".")
    assert present == ({branch} if branch else {field.name for field in descriptor.fields})


DIRECTIONS = {"A2P": "Request", "P2A": "Response"}


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*.hex")), ids=lambda p: p.stem)
def test_recorded_messages_of_the_go_agent_survive_a_round_trip(path: Path) -> None:
    """No field of a real message is unknown to us, and none is lost."""
    _, direction, method = path.stem.split("-")
    message: Message = getattr(rpc_pb2, method + DIRECTIONS[direction])()
    message.MergeFromString(bytes.fromhex(path.read_text()))

    twin = type(message)()
    text_format.Parse(path.with_suffix(".txtpb").read_text(), twin)
    assert message == twin
    assert text_format.MessageToString(message, print_unknown_fields=True) == (
        text_format.MessageToString(twin)
    )


def test_the_existing_service_has_its_seven_streams() -> None:
    service = rpc_pb2.DESCRIPTOR.services_by_name["FODCService"]

    assert service.full_name == "banyandb.fodc.v1.FODCService"
    assert [method.name for method in service.methods] == [
        "RegisterAgent",
        "StreamMetrics",
        "StreamClusterTopology",
        "StreamLifecycle",
        "StreamCrashDiagnostics",
        "StreamPressureProfiles",
        "StreamSchemaRegistry",
    ]
    assert all(method.client_streaming and method.server_streaming for method in service.methods)


def test_our_service_is_one_stream() -> None:
    service = agent_link_pb2.DESCRIPTOR.services_by_name["AgentLink"]

    assert service.full_name == "fodc.v1.AgentLink"
    assert [method.name for method in service.methods] == ["Connect"]


def test_the_view_reads_the_same_bytes_as_the_existing_message() -> None:
    sent = rpc_pb2.StreamMetricsRequest()
    metric = sent.metrics.add(name="up", value=1.5, description="d", type="METRIC_TYPE_GAUGE")
    metric.labels["k"] = "v"
    metric.timestamp.seconds = 7
    sent.timestamp.seconds = 9

    view = metrics_pb2.StreamMetricsRequest.FromString(sent.SerializeToString())

    assert view.metrics[0].labels == [b"\n\x01k\x12\x01v"]
    assert (view.metrics[0].name, view.metrics[0].value, view.metrics[0].type) == ("up", 1.5, 1)
    assert (view.metrics[0].timestamp.seconds, view.timestamp.seconds) == (7, 9)
