# SPDX-License-Identifier: Apache-2.0
"""How groups are stored and whether their schema is everywhere: GET /cluster/lifecycle.

The existing contract: every field is there, absent messages are null, 64-bit numbers are texts.
"""

from typing import Annotated, TypeAlias

from msgspec import UNSET, Meta, UnsetType

from fodc_api.values import Answer, Count

Int64: TypeAlias = Annotated[str, Meta(description="A 64-bit number.", pattern="^-?[0-9]+$")]
Fingerprint: TypeAlias = Annotated[str, Meta(description="A 64-bit hash.", pattern="^[0-9]+$")]
EnumName: TypeAlias = Annotated[
    str | int, Meta(description="A name; a number that is newer than this proxy as it is.")
]
ZERO = "0"


class Interval(Answer, frozen=True):
    """A length of time in whole units."""

    unit: EnumName
    num: Count


class Stage(Answer, frozen=True):
    """One tier that data of a group passes through."""

    name: str
    shard_num: Count
    segment_interval: Interval | None
    ttl: Interval | None
    node_selector: str
    close: bool
    replicas: Count


class ResourceOpts(Answer, frozen=True):
    """How a group is stored."""

    shard_num: Count
    segment_interval: Interval | None
    ttl: Interval | None
    stages: tuple[Stage, ...]
    default_stages: tuple[str, ...]
    replicas: Count


class FullName(Answer, frozen=True):
    """What identifies an object of the schema."""

    group: str
    name: str
    id: Count
    create_revision: Int64
    mod_revision: Int64


class DataNode(Answer, frozen=True):
    """A node that holds data of a group."""

    metadata: FullName | None
    roles: tuple[EnumName, ...]
    grpc_address: str
    http_address: str
    created_at: str | None
    labels: dict[str, str]
    property_repair_gossip_grpc_address: str
    property_schema_grpc_address: str
    property_schema_gossip_grpc_address: str


class IndexInfo(Answer, frozen=True):
    """How large an index is."""

    data_count: Int64
    data_size_bytes: Int64


class SidxInfo(Answer, frozen=True):
    """How large the secondary index of traces is."""

    data_count: Int64
    data_size_bytes: Int64
    part_count: Int64


class ShardInfo(Answer, frozen=True):
    """How large a shard is."""

    shard_id: Count
    data_count: Int64
    data_size_bytes: Int64
    part_count: Int64
    inverted_index_info: IndexInfo | None
    sidx_info: SidxInfo | None
    file_part_count: Int64


class SegmentInfo(Answer, frozen=True):
    """One segment of time and its shards."""

    segment_id: str
    time_range_start: str
    time_range_end: str
    shard_info: tuple[ShardInfo, ...]
    series_index_info: IndexInfo | None


class DataInfo(Answer, frozen=True):
    """What one node holds of a group."""

    node: DataNode | None
    segment_info: tuple[SegmentInfo, ...]
    data_size_bytes: Int64


class NodeFingerprint(Answer, frozen=True):
    """One object as a node has it in its cache and in use."""

    node: str
    cache_fingerprint: Fingerprint
    runtime_fingerprint: Fingerprint


class ObjectConsistency(Answer, frozen=True):
    """One object of the registry, 0 for one that it has not, beside what nodes have."""

    kind: str
    name: str
    registry_fingerprint: Fingerprint
    node_fingerprints: tuple[NodeFingerprint, ...]


class SchemaIssue(Answer, frozen=True):
    """One object that is not as it should be on one node."""

    kind: str
    name: str
    node: str
    type: EnumName


class SchemaConsistency(Answer, frozen=True):
    """Whether the schema of a group is the same everywhere."""

    status: EnumName
    objects: tuple[ObjectConsistency, ...]
    issues: tuple[SchemaIssue, ...]


class Group(Answer, frozen=True):
    """One group: how it is stored, where its data is, whether its schema is everywhere."""

    name: str
    catalog: str
    resource_opts: ResourceOpts | None
    data_info: tuple[DataInfo, ...]
    errors: tuple[str, ...]
    schema_consistency: SchemaConsistency | None


class Report(Answer, frozen=True):
    """A report of the migration between tiers, as its file has it."""

    filename: str
    report_json: str


class LifecycleStatus(Answer, frozen=True):
    """The newest reports of one pod."""

    pod_name: str
    reports: tuple[Report, ...]


class AgentSummary(Answer, frozen=True):
    """How many agents there are, and how many were asked and have answered."""

    total: Count
    requested: Count
    responded: Count
    not_responded: Count


class Lifecycle(Answer, frozen=True, kw_only=True):
    """GET /cluster/lifecycle; `error` is there when no agent could be asked or none answered."""

    agent_summary: AgentSummary
    error: str | UnsetType = UNSET
    groups: tuple[Group, ...]
    lifecycle_statuses: tuple[LifecycleStatus, ...]
