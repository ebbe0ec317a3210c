# SPDX-License-Identifier: Apache-2.0
"""Who writes to and queries whom, and how the nodes do: GET /cluster/flows.

The one idea: everything is derived from metrics that nodes expose anyway; what a node does not
expose, or what needs an earlier reading that there is not, is null and never 0.
"""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from fodc_api.configuration import Missing
from fodc_api.values import Answer, Count, Seconds, Time


class FlowKind(StrEnum):
    """What flows."""

    WRITE = "Write"
    QUERY = "Query"
    OTHER = "Other"


class FlowNode(Answer, frozen=True):
    """A node with how it does."""

    node_id: str
    role: str
    tier: str | None
    namespace: str | None
    cluster: str | None
    zone: str | None
    machine: Annotated[str | None, Meta(description="The Kubernetes node.")]
    memory_bytes: Annotated[float | None, Meta(description="Resident memory.")]
    memory_limit_bytes: float | None
    in_flight: Annotated[
        float | None, Meta(description="Messages to others that were begun and have not ended.")
    ]
    errors_total: Annotated[float | None, Meta(description="Sum of the node's error counters.")]
    errors_per_second: float | None


class Flow(Answer, frozen=True):
    """What goes from one node to another; `target` is how the sender calls it."""

    source: str
    target: str
    target_node_id: Annotated[str | None, Meta(description="The node, where it is one of these.")]
    target_role: str
    target_tier: str | None
    kind: FlowKind
    operation: str
    groups: tuple[str, ...]
    started_total: float | None
    finished_total: float
    in_flight: float | None
    per_second: Annotated[float | None, Meta(description="Ends a second since the last reading.")]
    p99_seconds: Annotated[
        float | None,
        Meta(description="Since the last reading, or since the start of the node without one."),
    ]
    errors_total: float | None


class Flows(Answer, frozen=True):
    """GET /cluster/flows; rates are over `over_seconds`, null where there is no earlier reading."""

    generated_at: Time
    asked: Count
    answered: Count
    missing: tuple[Missing, ...]
    over_seconds: Seconds | None
    nodes: tuple[FlowNode, ...]
    flows: tuple[Flow, ...]
