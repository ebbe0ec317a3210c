# SPDX-License-Identifier: Apache-2.0
"""Lifecycle and schema of the existing contract to values, bounded and clean.

The one idea: the same as in `evidence`; by hand and not by protobuf's own JSON, which takes five
times as long for the ten thousand parts that a large cluster has.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from fodc_api import lifecycle as api
from fodc_protocol.times import format_rfc3339
from fodc_proxy.evidence import parts
from fodc_proxy.wire.bounds import Bound, WireError, dns_name, few, said, small, word
from fodc_proxy.wire.existing.evidence import address, instant, labels_of, parsed
from fodc_proxy.wire.shared import shared
from fodc_wire.banyandb.common.v1 import common_pb2 as common
from fodc_wire.banyandb.database.v1 import database_pb2 as database
from fodc_wire.banyandb.database.v1 import rpc_pb2 as figures
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as pb

MOST_REPORTS: Final = 16
REPORT_BYTES: Final = 5 * 1024 * 1024
MOST_GROUPS: Final = 4096
MOST_OBJECTS: Final = 65_536
MOST_NODES: Final = 1024
MOST_SEGMENTS: Final = 16_384
MOST_SHARDS: Final = 4096
MOST_ERRORS: Final = 256
_NAME_CHARACTERS: Final = 512
_MOST_STAGES: Final = 64
_UNITS: Final = common.IntervalRule.Unit.DESCRIPTOR
_ROLES: Final = database.Role.DESCRIPTOR
_ISSUES: Final = pb.SchemaIssueType.DESCRIPTOR
_STATUSES: Final = pb.ConsistencyStatus.DESCRIPTOR


@dataclass(slots=True)
class _Known:
    """What of one message was looked at already: the same names come in it by the thousand."""

    nodes: dict[bytes, api.DataNode] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    numbers: dict[int, str] = field(default_factory=dict)

    def name(self, field: str, value: str) -> str:
        """Return `name` of this module."""
        found = self.names.get(value)
        if found is None:
            found = self.names[value] = name(field, value)
        return found

    def number(self, value: int) -> str:
        """Return a fingerprint as the API has it."""
        found = self.numbers.get(value)
        if found is None:
            found = self.numbers[value] = shared(str(value))
        return found


def decode_lifecycle(data: bytes) -> parts.Lifecycle:
    """Return what an agent tells of groups and reports; raises WireError."""
    m = parsed(pb.StreamLifecycleRequest, data)
    told = m.lifecycle_data
    known = _Known()
    groups = few("lifecycle_data.groups", told.groups, MOST_GROUPS)
    return parts.Lifecycle(
        dns_name("pod_name", m.pod_name),
        tuple(_report(one) for one in few("lifecycle_data.reports", told.reports, MOST_REPORTS)),
        tuple(_group(one, known) for one in groups),
        m.timestamp.ToMilliseconds() if m.HasField("timestamp") else 0,
        len(data),
    )


def _report(m: pb.LifecycleReport) -> api.Report:
    small("report.report_json", len(m.report_json), REPORT_BYTES)
    return api.Report(word("report.filename", m.filename), m.report_json)


def _group(m: pb.GroupLifecycleInfo, known: _Known) -> api.Group:
    return api.Group(
        name("group.name", m.name),
        word("group.catalog", m.catalog),
        _options(m.resource_opts) if m.HasField("resource_opts") else None,
        tuple(_data(one, known) for one in few("group.data_info", m.data_info, MOST_NODES)),
        tuple(said(one) for one in few("group.errors", m.errors, MOST_ERRORS)),
        _schema(m.schema_consistency, known) if m.HasField("schema_consistency") else None,
    )


def name(field: str, value: str) -> str:
    """Return the name of a group, an object or a node; raises WireError."""
    return shared(word(field, value, _NAME_CHARACTERS))


# ---- how a group is stored ----------------------------------------------------------------------


def _options(m: common.ResourceOpts) -> api.ResourceOpts:
    return api.ResourceOpts(
        m.shard_num,
        _interval(m.segment_interval) if m.HasField("segment_interval") else None,
        _interval(m.ttl) if m.HasField("ttl") else None,
        tuple(_stage(one) for one in few("resource_opts.stages", m.stages, _MOST_STAGES)),
        _words("resource_opts.default_stages", m.default_stages),
        m.replicas,
    )


def _stage(m: common.LifecycleStage) -> api.Stage:
    return api.Stage(
        word("stage.name", m.name),
        m.shard_num,
        _interval(m.segment_interval) if m.HasField("segment_interval") else None,
        _interval(m.ttl) if m.HasField("ttl") else None,
        word("stage.node_selector", m.node_selector, _NAME_CHARACTERS),
        m.close,
        m.replicas,
    )


def _interval(m: common.IntervalRule) -> api.Interval:
    return api.Interval(_enum(_UNITS, m.unit), m.num)


def _words(field: str, values: Iterable[str]) -> tuple[str, ...]:
    return tuple(word(field, one) for one in few(field, tuple(values), _MOST_STAGES))


# ---- where its data is --------------------------------------------------------------------------


def _data(m: figures.DataInfo, known: _Known) -> api.DataInfo:
    segments = few("data_info.segment_info", m.segment_info, MOST_SEGMENTS)
    return api.DataInfo(
        _known_node(m.node, known.nodes) if m.HasField("node") else None,
        tuple(map(_segment, segments)),
        str(m.data_size_bytes),
    )


def _known_node(m: database.Node, known: dict[bytes, api.DataNode]) -> api.DataNode:
    """Return a node; every group tells of the same ones, which are read once."""
    data = m.SerializeToString()
    node = known.get(data)
    if node is None:
        node = known[data] = _node(m)
    return node


def _node(m: database.Node) -> api.DataNode:
    return api.DataNode(
        _full_name(m.metadata) if m.HasField("metadata") else None,
        tuple(_enum(_ROLES, one) for one in few("node.roles", m.roles)),
        address("node.grpc_address", m.grpc_address),
        address("node.http_address", m.http_address),
        _time("node.created_at", m.created_at) if m.HasField("created_at") else None,
        labels_of("node.labels", m.labels),
        address("node.property_repair_gossip_grpc_address", m.property_repair_gossip_grpc_address),
        address("node.property_schema_grpc_address", m.property_schema_grpc_address),
        address("node.property_schema_gossip_grpc_address", m.property_schema_gossip_grpc_address),
    )


def _full_name(m: common.Metadata) -> api.FullName:
    return api.FullName(
        name("node.metadata.group", m.group),
        name("node.metadata.name", m.name),
        m.id,
        str(m.create_revision),
        str(m.mod_revision),
    )


def _segment(m: figures.SegmentInfo) -> api.SegmentInfo:
    return api.SegmentInfo(
        word("segment.segment_id", m.segment_id),
        word("segment.time_range_start", m.time_range_start),
        word("segment.time_range_end", m.time_range_end),
        tuple(map(_shard, few("segment.shard_info", m.shard_info, MOST_SHARDS))),
        _index(m.series_index_info) if m.HasField("series_index_info") else None,
    )


def _shard(m: figures.ShardInfo) -> api.ShardInfo:
    return api.ShardInfo(
        m.shard_id,
        str(m.data_count),
        str(m.data_size_bytes),
        str(m.part_count),
        _index(m.inverted_index_info) if m.HasField("inverted_index_info") else None,
        _sidx(m.sidx_info) if m.HasField("sidx_info") else None,
        str(m.file_part_count),
    )


def _index(m: figures.InvertedIndexInfo | figures.SeriesIndexInfo) -> api.IndexInfo:
    return api.IndexInfo(str(m.data_count), str(m.data_size_bytes))


def _sidx(m: figures.SIDXInfo) -> api.SidxInfo:
    return api.SidxInfo(str(m.data_count), str(m.data_size_bytes), str(m.part_count))


# ---- its schema ---------------------------------------------------------------------------------


def _schema(m: pb.SchemaConsistency, known: _Known) -> api.SchemaConsistency:
    objects = few("schema_consistency.objects", m.objects, MOST_OBJECTS)
    return api.SchemaConsistency(
        _enum(_STATUSES, m.status),
        tuple([_object(one, known) for one in objects]),
        tuple(map(_issue, few("schema_consistency.issues", m.issues, MOST_OBJECTS))),
    )


def _object(m: pb.ObjectConsistency, known: _Known) -> api.ObjectConsistency:
    # Looked up here and not in a call: a large fleet has a hundred thousand of them.
    names = known.names
    nodes = few("object.node_fingerprints", m.node_fingerprints, MOST_NODES)
    return api.ObjectConsistency(
        names.get(m.kind) or known.name("object.kind", m.kind),
        names.get(m.name) or known.name("object.name", m.name),
        known.number(m.registry_fingerprint),
        tuple([_fingerprint(one, known) for one in nodes]),
    )


def _fingerprint(m: pb.NodeFingerprint, known: _Known) -> api.NodeFingerprint:
    numbers, cache, runtime = known.numbers, m.cache_fingerprint, m.runtime_fingerprint
    return api.NodeFingerprint(
        known.names.get(m.node) or known.name("node_fingerprint.node", m.node),
        numbers.get(cache) or known.number(cache),
        numbers.get(runtime) or known.number(runtime),
    )


def _issue(m: pb.SchemaIssue) -> api.SchemaIssue:
    return api.SchemaIssue(
        name("issue.kind", m.kind),
        name("issue.name", m.name),
        name("issue.node", m.node),
        _enum(_ISSUES, m.type),
    )


class RegistryRead:
    """One read of the registry as its pieces come in; bounded over all of them."""

    def __init__(self) -> None:
        self._groups: dict[str, parts.RegistryGroup] = {}
        self._objects = 0
        self._fatal = ""

    def take(self, data: bytes) -> parts.Registry | None:
        """Take a piece; the whole when it is the last one; raises WireError.

        Pieces of one group are joined, its last error counts; an error without a group is that
        nothing could be read.
        """
        m = parsed(pb.StreamSchemaRegistryRequest, data)
        if m.HasField("group"):
            self._add(m.group)
        return parts.Registry(self._groups, self._fatal) if m.done else None

    def _add(self, m: pb.SchemaRegistryGroup) -> None:
        if not m.group:
            self._fatal = said(m.error) or self._fatal
            return
        known = self._groups.get(m.group)
        objects = {} if known is None else known.objects
        for one in m.objects:
            key = name("registry.kind", one.kind), name("registry.name", one.name)
            objects[key] = shared(str(one.fingerprint))
        self._objects += len(m.objects)
        error = said(m.error) or ("" if known is None else known.error)
        self._groups[name("registry.group", m.group)] = parts.RegistryGroup(objects, error)
        if self._objects > MOST_OBJECTS or len(self._groups) > MOST_GROUPS:
            most = f"{MOST_OBJECTS} objects in {MOST_GROUPS} groups"
            raise WireError(f"registry must have at most {most}", Bound.COUNT)


# ---- single values ------------------------------------------------------------------------------


def _enum(kind: EnumDescriptor, value: int) -> str | int:
    known = kind.values_by_number.get(value)
    return value if known is None else known.name


def _time(field: str, m: Timestamp) -> str:
    """Return RFC 3339 with 0, 3, 6 or 9 digits behind the second, as protobuf's JSON has it."""
    told = instant(field, m)
    whole = format_rfc3339(told.seconds)[:-1]
    digits = f"{told.nanos:09d}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f"{whole}.{digits}Z" if digits else f"{whole}Z"
