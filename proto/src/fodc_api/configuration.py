# SPDX-License-Identifier: Apache-2.0
"""What the nodes were told, and where nodes of one role differ: GET /cluster/config."""

from typing import Annotated, Final, Literal

from msgspec import Meta

from fodc_api.cluster import Condition, NodeFilter, RoleFilter
from fodc_api.values import Answer, Count, Query, Seconds, Time
from fodc_api.words import DifferenceKind

MAX_SPAN_S: Final = 31 * 86_400


class ConfigurationQuery(Query, frozen=True):
    """Which nodes, and whether they are shown or compared."""

    node_id: NodeFilter = ""
    role: RoleFilter = ""
    diff: Annotated[
        Literal["role", "tier", "node", "time"] | None,
        Meta(
            description="Compare the nodes of each role, of each role and tier, all of the nodes, "
            "or each node with itself over time."
        ),
    ] = None
    at: Annotated[
        str,
        Meta(
            max_length=64,
            description="RFC 3339: as it was then, from what the proxy kept; nobody is asked.",
            examples=["2026-11-21T09:08:23Z"],
        ),
    ] = ""
    span_seconds: Annotated[
        int,
        Meta(
            ge=1, le=MAX_SPAN_S, description="For diff=time: how long before `at`, or before now."
        ),
    ] = 3600


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
    """How the nodes of one group differ; its role and tier are empty where they are not asked."""

    role: str
    nodes: tuple[str, ...]
    stale_nodes: tuple[str, ...]
    differences: tuple[Difference, ...]
    tier: str = ""


class Change(Answer, frozen=True):
    """One setting of a node that changed; null means that it is not set."""

    node_id: str
    at: Annotated[Time, Meta(description="When the agent had it new for the first time.")]
    name: str
    before: str | None
    after: str | None


class Configurations(Answer, frozen=True):
    """GET /cluster/config: `nodes`, with diff=time `changes`, else with diff `roles`.

    The others are empty. With `at` nobody is asked: who has answered is whose part was kept.
    """

    generated_at: Time
    asked: Count
    answered: Count
    missing: tuple[Missing, ...]
    nodes: tuple[NodeConfiguration, ...] = ()
    roles: tuple[RoleDrift, ...] = ()
    changes: tuple[Change, ...] = ()
