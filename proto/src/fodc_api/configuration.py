# SPDX-License-Identifier: Apache-2.0
"""What the nodes were told, and where nodes of one role differ: GET /cluster/config."""

from typing import Annotated, Literal

from msgspec import Meta

from fodc_api.cluster import Condition, NodeFilter, RoleFilter
from fodc_api.values import Answer, Count, Query, Seconds, Time
from fodc_api.words import DifferenceKind


class ConfigurationQuery(Query, frozen=True):
    """Which nodes, and whether they are shown or compared."""

    node_id: NodeFilter = ""
    role: RoleFilter = ""
    diff: Annotated[Literal["role"] | None, Meta(description="Compare the nodes of each role.")] = (
        None
    )


class Missing(Answer, frozen=True):
    """A node that was asked and whose part is missing."""

    node_id: str
    reason: str
    message: str


class Entry(Answer, frozen=True):
    """One setting of a node; `redacted` says that the value is masked."""

    name: str
    value: str
    source: Annotated[str, Meta(description="flag, environment, file or default.")]
    redacted: bool


class NodeConfiguration(Answer, frozen=True):
    """What one node was told; `stale` when it did not answer this time."""

    node_id: str
    role: str
    hash: str
    epoch: Count
    collected_at: Time
    age_seconds: Seconds
    stale: bool
    entries: tuple[Entry, ...]
    conditions: tuple[Condition, ...]


class DifferingValue(Answer, frozen=True):
    """One value of a setting and the nodes that have it; null means that it is not set."""

    value: str | None
    nodes: tuple[str, ...]


class Difference(Answer, frozen=True):
    """A setting in which the nodes of one role differ; values stand most frequent first."""

    name: str
    kind: DifferenceKind
    has_majority: bool
    majority: str | None
    values: tuple[DifferingValue, ...]


class RoleDrift(Answer, frozen=True):
    """How the nodes of one role differ."""

    role: str
    nodes: tuple[str, ...]
    stale_nodes: tuple[str, ...]
    differences: tuple[Difference, ...]


class Configurations(Answer, frozen=True):
    """GET /cluster/config: `nodes`, or with diff=role `roles`; the other one is empty."""

    generated_at: Time
    asked: Count
    answered: Count
    missing: tuple[Missing, ...]
    nodes: tuple[NodeConfiguration, ...] = ()
    roles: tuple[RoleDrift, ...] = ()
