# SPDX-License-Identifier: Apache-2.0
"""Reasons and errors that agent, proxy, client and custom resources share.

The one idea: every refusal, failure or missing part has a short stable reason for machines, a
message for the case at hand, and one line of advice that says what to do next.
"""

from enum import StrEnum
from typing import Final


class Reason(StrEnum):
    """Why something was refused, failed, ended early or is missing."""

    # the node and its pprof port
    PROFILER_BUSY = "ProfilerBusy"
    NODE_UNREACHABLE = "NodeUnreachable"
    NODE_ERROR = "NodeError"
    NODE_HUNG = "NodeHung"
    # what came back
    EMPTY_PROFILE = "EmptyProfile"
    CORRUPT_PROFILE = "CorruptProfile"
    TOO_LARGE = "TooLarge"
    CHECKSUM_MISMATCH = "ChecksumMismatch"
    TRUNCATED = "Truncated"
    # time
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    START_DEADLINE_EXCEEDED = "StartDeadlineExceeded"
    # programs that come and go
    AGENT_GONE = "AgentGone"
    AGENT_RESTARTED = "AgentRestarted"
    PROXY_RESTARTED = "ProxyRestarted"
    OFFLINE = "Offline"
    SUPERSEDED = "Superseded"
    STANDBY = "Standby"
    # limits
    QUOTA_EXCEEDED = "QuotaExceeded"
    STORAGE_FAILED = "StorageFailed"
    BUSY = "Busy"
    THROTTLED = "Throttled"
    GUARD_TRIPPED = "GuardTripped"
    # what cannot or may not be
    UNSUPPORTED = "Unsupported"
    DISABLED = "Disabled"
    BAD_REQUEST = "BadRequest"
    NOT_FOUND = "NotFound"
    UNAUTHENTICATED = "Unauthenticated"
    FORBIDDEN = "Forbidden"
    # somebody's will
    CANCELLED = "Cancelled"
    ABORTED = "Aborted"
    # sums over targets
    NO_TARGETS = "NoTargets"
    ALL_TARGETS_FAILED = "AllTargetsFailed"
    ALL_CAPTURES_UNSUPPORTED = "AllCapturesUnsupported"
    # neither side knows better
    PROTOCOL_ERROR = "ProtocolError"
    INTERNAL = "Internal"


_ADVICE: Final[dict[Reason, str]] = {
    Reason.PROFILER_BUSY: "Another profile of this kind runs in the node; wait for its end or ask "
    "who else profiles it, then repeat.",
    Reason.NODE_UNREACHABLE: "Check that the node runs and that its pprof or metrics address "
    "matches the agent's settings.",
    Reason.NODE_ERROR: "Read the node's answer in the message and the node's log.",
    Reason.NODE_HUNG: "The node accepted the connection and never answered; take a goroutine "
    "profile with debug=2 or look at its CPU and I/O.",
    Reason.EMPTY_PROFILE: "Nothing was sampled: profile while there is load, or longer; block and "
    "mutex need a sampling rate in the node.",
    Reason.CORRUPT_PROFILE: "The node's answer is no profile; check which process answers on the "
    "pprof port and repeat the capture.",
    Reason.TOO_LARGE: "Ask for a shorter duration, or raise the size limit of a capture.",
    Reason.CHECKSUM_MISMATCH: "The content changed on its way; fetch it again, and check the "
    "storage if that happens twice.",
    Reason.TRUNCATED: "Only a part arrived; use what there is or repeat the capture.",
    Reason.DEADLINE_EXCEEDED: "Allow more time (timeout, active deadline) or ask fewer nodes.",
    Reason.START_DEADLINE_EXCEEDED: "It waited in the queue for too long; raise the start deadline "
    "or the parallelism, or cancel what runs before it.",
    Reason.AGENT_GONE: "The agent's connection ended; look at the agent container and repeat when "
    "the node is online.",
    Reason.AGENT_RESTARTED: "The agent restarted meanwhile; look at its last termination and "
    "repeat.",
    Reason.PROXY_RESTARTED: "The proxy restarted meanwhile; ask for the request's state, then "
    "repeat if it is not there.",
    Reason.OFFLINE: "No heartbeat from this node's agent; check the pod and the agent's log.",
    Reason.SUPERSEDED: "A newer registration of the same pod took over; nothing needs to be done.",
    Reason.STANDBY: "This replica does not lead or is just starting; ask through the Service, or "
    "repeat in a moment.",
    Reason.QUOTA_EXCEEDED: "Remove old artifacts, shorten the retention or raise the quota.",
    Reason.STORAGE_FAILED: "Check free space, permissions and credentials of the artifact store.",
    Reason.BUSY: "As many captures run as are allowed; wait or raise the limit.",
    Reason.THROTTLED: "Too many requests in a short time; wait and repeat.",
    Reason.GUARD_TRIPPED: "A guard protects the database; repeat when the load is lower or ask for "
    "a wider limit.",
    Reason.UNSUPPORTED: "This node, kernel or agent version cannot do it; see its capabilities.",
    Reason.DISABLED: "It is switched off by a setting of the node or of its agent; nothing is "
    "wrong where that is meant.",
    Reason.BAD_REQUEST: "Correct the field that the message names.",
    Reason.NOT_FOUND: "Check the name; list what there is first.",
    Reason.UNAUTHENTICATED: "Send a valid token or client certificate.",
    Reason.FORBIDDEN: "Ask for a role that permits this, or use one that you have.",
    Reason.CANCELLED: "It was stopped on demand; what had succeeded is kept, what ran is not.",
    Reason.ABORTED: "It was aborted on demand and its results were discarded; repeat if needed.",
    Reason.NO_TARGETS: "No node matches; list the nodes and widen names, roles or tiers.",
    Reason.ALL_TARGETS_FAILED: "Read the reason of each target; they often share one cause.",
    Reason.ALL_CAPTURES_UNSUPPORTED: "None of the nodes can do what was asked; see their "
    "capabilities.",
    Reason.PROTOCOL_ERROR: "The two sides do not understand each other; compare their versions.",
    Reason.INTERNAL: "A fault of the program; report it with the log around this time.",
}

TRANSIENT: Final = frozenset(
    {
        Reason.PROFILER_BUSY,
        Reason.NODE_UNREACHABLE,
        Reason.AGENT_GONE,
        Reason.AGENT_RESTARTED,
        Reason.PROXY_RESTARTED,
        Reason.STANDBY,
        Reason.CHECKSUM_MISMATCH,
        Reason.BUSY,
        Reason.THROTTLED,
    }
)
"""Reasons after which the same attempt may well succeed when it is repeated later."""


def advice(reason: Reason) -> str:
    """Return one line that says what a person can do about `reason`."""
    return _ADVICE[reason]


class FodcError(Exception):
    """Base of our errors: a message for people and a reason for machines."""

    default_reason: Reason = Reason.INTERNAL

    def __init__(self, message: str, *, reason: Reason | None = None) -> None:
        """Keep the message; `reason` defaults to that of the class."""
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason

    @property
    def advice(self) -> str:
        """What a person can do about it, one line."""
        return advice(self.reason)


class BadRequestError(FodcError):
    """A value from outside is wrong; the message names the field and what is accepted."""

    default_reason = Reason.BAD_REQUEST


class FieldError(BadRequestError):
    """One field is wrong; `field` is its path, the message starts with it."""

    def __init__(self, field: str, problem: str) -> None:
        """Keep both; `problem` goes on after the field's name."""
        super().__init__(f"{field} {problem}")
        self.field = field


def shown(value: object, *, max_length: int = 60) -> str:
    """Return a value from outside, short enough for a message."""
    text = repr(value)
    return text if len(text) <= max_length else text[:max_length] + "…"


class OptionError(BadRequestError):
    """A setting is wrong; the message names the flag, variable or key that supplied it."""


class CorruptProfileError(FodcError):
    """Bytes that should be a profile are none, or end too early."""

    default_reason = Reason.CORRUPT_PROFILE


class ProfileTooLargeError(CorruptProfileError):
    """A profile is beyond what is looked into here; it may well be good."""

    default_reason = Reason.TOO_LARGE


class ArtifactError(FodcError):
    """A chunk or manifest does not fit what came before or what was announced."""

    default_reason = Reason.CHECKSUM_MISMATCH
