# SPDX-License-Identifier: Apache-2.0
"""The words of the API: phases, policies, modes. Reasons are those of `fodc_protocol.errors`."""

from enum import StrEnum


class NodePhase(StrEnum):
    """Where a node's agent stands."""

    ONLINE = "Online"
    DEGRADED = "Degraded"
    """Living, and something of it is less than whole; its conditions say what."""
    OFFLINE = "Offline"


class Contract(StrEnum):
    """Which of the two gRPC services an agent speaks."""

    LINK = "link"
    FODC = "fodc"


class RequestPhase(StrEnum):
    """Where a request stands."""

    PENDING = "Pending"
    QUEUED = "Queued"
    RUNNING = "Running"
    FINALIZING = "Finalizing"
    SUCCEEDED = "Succeeded"
    PARTIALLY_SUCCEEDED = "PartiallySucceeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    REJECTED = "Rejected"

    @property
    def ended(self) -> bool:
        """Whether this phase never changes again."""
        return self not in _OPEN


_OPEN = frozenset(
    {RequestPhase.PENDING, RequestPhase.QUEUED, RequestPhase.RUNNING, RequestPhase.FINALIZING}
)


class Phase(StrEnum):
    """Where one target of a request, or one capture on it, stands."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    CANCELLED = "Cancelled"

    @property
    def ended(self) -> bool:
        """Whether this phase never changes again."""
        return self not in {Phase.PENDING, Phase.RUNNING}


class ArtifactState(StrEnum):
    """How the bytes of an artifact are."""

    STORED = "Stored"
    DAMAGED = "Damaged"
    """They are short, or not those that were stored; its message says which."""


class FailurePolicy(StrEnum):
    """What the first failed capture means for the others."""

    CONTINUE = "Continue"
    FAIL_FAST = "FailFast"


class CancelMode(StrEnum):
    """How a request is ended early."""

    STOP = "stop"
    """What nodes have finished is still fetched; what runs leaves nothing."""
    ABORT = "abort"
    """What is not stored yet is discarded."""


class DifferenceKind(StrEnum):
    """Whether nodes of one role are expected to differ in a setting."""

    DRIFT = "drift"
    IDENTITY = "identity"
    """Names, addresses and folders, which each node has for itself."""


class Right(StrEnum):
    """What a caller must be allowed to do for a route; some captures need one more."""

    ANYBODY = "anybody"
    """Probes, and what says no more than that the proxy is there."""
    METRICS = "metrics"
    """Scrape the page of metrics."""
    VIEW = "view"
    """See the fleet, its windows and how requests went."""
    CONFIGURATION = "configuration"
    """Read the values of configurations."""
    CAPTURE = "capture"
    """Ask for profiles that cost and tell little."""
    CANCEL = "cancel"
    """End a request early."""
    HEAP = "heap"
    """Take snapshots of the heap and of allocations."""
    TRACE = "trace"
    """Take execution traces."""
    ARTIFACTS = "artifacts"
    """Read what was captured, and make links to it."""
    REMOVE = "remove"
    """Remove what was captured."""
