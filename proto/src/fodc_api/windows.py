# SPDX-License-Identifier: Apache-2.0
"""Values of the fleet: GET /metrics and /metrics-windows of the existing contract.

Here parameters that are not known are passed over, as by the existing proxy.
"""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from fodc_api.cluster import NodeFilter, RoleFilter
from fodc_api.values import Answer, Query

AskedTime: TypeAlias = Annotated[
    str,
    Meta(
        max_length=64,
        description="RFC 3339; left out, the window is open on this side.",
        examples=["2026-11-21T09:08:23Z"],
    ),
]


class MetricsQuery(Query, frozen=True, forbid_unknown_fields=False):
    """Whose values GET /metrics shows."""

    role: RoleFilter = ""
    pod_name: NodeFilter = ""


class WindowsQuery(MetricsQuery, frozen=True, forbid_unknown_fields=False):
    """Whose values GET /metrics-windows shows, and of which time."""

    start_time: AskedTime = ""
    end_time: AskedTime = ""


class Point(Answer, frozen=True):
    """One value; what JSON has no number for is a text."""

    timestamp: Annotated[str, Meta(description="RFC 3339, whole seconds.")]
    value: float | Literal["NaN", "+Inf", "-Inf"]


class WindowSeries(Answer, frozen=True):
    """One series of one agent, its points by time."""

    agent_id: str
    data: tuple[Point, ...]
    description: str
    labels: dict[str, str]
    name: str
    pod_name: str
