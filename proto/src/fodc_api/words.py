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
    INCIDENTS = "incidents"
    """Read what happened to nodes, with all that was kept of it."""


class IncidentCause(StrEnum):
    """Why there is an incident, the strongest first: what is found out later may be stronger."""

    OOM_KILLED = "OOMKilled"
    """The kernel has killed the process for its memory."""
    CRASHED = "Crashed"
    """The process has written down a panic."""
    KILLED = "Killed"
    """A signal has ended the process."""
    EXITED = "Exited"
    """The process has ended with an exit code."""
    PROCESS_GONE = "ProcessGone"
    """The process is no more, or another one; why is not known."""
    UNREACHABLE = "Unreachable"
    """The process is there and does not answer."""
    MEMORY_PRESSURE = "MemoryPressure"
    """Memory is near its limit."""
    TRIGGERED = "Triggered"
    """A rule over the metrics of the node has fired."""
    SCHEMA_MISMATCH = "SchemaMismatch"
    """The node has another schema than the registry."""
    OTHER = "Other"

    @property
    def rank(self) -> int:
        """Where it stands: smaller is stronger."""
        return list(IncidentCause).index(self)


class IncidentPhase(StrEnum):
    """Whether more of an incident may come."""

    OPEN = "Open"
    CLOSED = "Closed"
    """Nothing more has come of it for a while."""


class IncidentPartState(StrEnum):
    """Where something stands that an incident holds, or is to hold."""

    PENDING = "Pending"
    """Its node's agent has it, and it is on its way."""
    STORED = "Stored"
    MISSING = "Missing"
    """It never came, or is there no more; the message says why."""
