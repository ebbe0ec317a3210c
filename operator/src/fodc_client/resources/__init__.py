# SPDX-License-Identifier: Apache-2.0
"""What the proxy tells, as frozen values.

Names and units are those of the proxy's JSON. Phases, reasons and capability states stay texts: a
word of a newer proxy is shown, not refused.
"""

from fodc_client.resources.artifacts import Artifact, read_artifact, read_artifacts
from fodc_client.resources.configuration import (
    Configurations,
    Difference,
    Missing,
    NodeConfiguration,
    RoleDrift,
    read_configurations,
)
from fodc_client.resources.diagnostics import (
    ENDED_PHASES,
    Counts,
    Request,
    Result,
    Target,
    read_request,
    read_requests,
)
from fodc_client.resources.fleet import (
    Capability,
    Check,
    Cluster,
    Condition,
    Node,
    Readiness,
    WindowExtent,
    read_cluster,
    read_readiness,
    read_version,
)
from fodc_client.resources.windows import Point, WindowSeries, read_windows

__all__ = [
    "ENDED_PHASES",
    "Artifact",
    "Capability",
    "Check",
    "Cluster",
    "Condition",
    "Configurations",
    "Counts",
    "Difference",
    "Missing",
    "Node",
    "NodeConfiguration",
    "Point",
    "Readiness",
    "Request",
    "Result",
    "RoleDrift",
    "Target",
    "WindowExtent",
    "WindowSeries",
    "read_artifact",
    "read_artifacts",
    "read_cluster",
    "read_configurations",
    "read_readiness",
    "read_request",
    "read_requests",
    "read_version",
    "read_windows",
]
