# SPDX-License-Identifier: Apache-2.0
"""What a diagnostic request is: values only, the rules about them live beside.

The one idea: a request is a tree of frozen values (request, targets, results), so that a copy that
was handed out, stored or sent never changes behind anybody's back.  Times are Unix milliseconds.
"""

from dataclasses import dataclass, field

from fodc_api.words import CancelMode, FailurePolicy, Phase, RequestPhase
from fodc_protocol.profiles import Profile
from fodc_proxy.fleet.naming import address_of

# ---- what was asked -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Selector:
    """Which nodes are meant: AND between the fields, OR inside each."""

    names: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    all: bool = False
    include_offline: bool = False


@dataclass(frozen=True, slots=True)
class Capture:
    """One capture to take on each target; `name` is unique within its request."""

    name: str
    profile: Profile
    duration_s: float
    gc: bool = False
    # Under which id the agent has it already, when it has taken it by itself.
    command_id: str = ""
    # Of a window: its last instant, 0 for when the request was made; the span before it, 0 for all.
    end_ms: int = 0
    span_s: float = 0


@dataclass(frozen=True, slots=True)
class Execution:
    """How the captures are carried out."""

    parallelism: int = 4
    start_deadline_s: int = 300
    active_deadline_s: int = 900
    target_timeout_slack_s: int = 30
    backoff_limit: int = 1
    failure_policy: FailurePolicy = FailurePolicy.CONTINUE


@dataclass(frozen=True, slots=True)
class Spec:
    """Everything that a caller decides about a request; never changes."""

    selector: Selector
    captures: tuple[Capture, ...]
    execution: Execution = field(default_factory=Execution)
    purpose: str = ""


# ---- how it goes ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Result:
    """One capture on one target; `attempt` counts from 1, 0 means never started."""

    capture: str
    profile: str
    duration_s: float
    phase: Phase = Phase.PENDING
    reason: str = ""
    message: str = ""
    attempt: int = 0
    # Attempts that the agent refused because it was busy.
    refused: int = 0
    # A retry does not start before this time.
    not_before_ms: int = 0
    started_at_ms: int | None = None
    finished_at_ms: int | None = None
    # Up to here the running attempt may last.
    deadline_at_ms: int | None = None
    elapsed_ms: int = 0
    received_bytes: int = 0
    size_bytes: int = 0
    sha256: str = ""
    samples: int | None = None
    format: str = ""
    artifact_id: str = ""
    empty: bool = False
    truncated: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """One node of a request; `node_id` is what people call it, its pod name when that is unique."""

    node_id: str
    results: tuple[Result, ...]
    agent_id: str = ""
    role: str = ""
    tier: str = ""
    # The node was offline when it was chosen: start only when its agent is linked.
    awaits_agent: bool = False
    phase: Phase = Phase.PENDING
    reason: str = ""
    message: str = ""
    started_at_ms: int | None = None
    finished_at_ms: int | None = None
    namespace: str = ""
    # Empty when it is the node_id.
    pod_name: str = ""

    @property
    def address(self) -> str:
        """Where frames for it go; other than `node_id` it does not depend on who else is there."""
        return address_of(self.namespace, self.pod_name or self.node_id)

    @property
    def attempts(self) -> int:
        """Captures that were started on this target, repeats included."""
        return sum(result.attempt - result.refused for result in self.results)


@dataclass(frozen=True, slots=True)
class Request:
    """A request with all that is known of it; `revision` grows with each change."""

    id: str
    spec: Spec
    targets: tuple[Target, ...]
    created_at_ms: int
    revision: int = 1
    phase: RequestPhase = RequestPhase.PENDING
    reason: str = ""
    message: str = ""
    started_at_ms: int | None = None
    finished_at_ms: int | None = None
    cancel: CancelMode | None = None
    # The first failure of a FailFast request, in words.
    tripped: str = ""
    # Who asked: places are shared between callers.
    caller: str = ""

    @property
    def start_deadline_ms(self) -> int:
        """When a request of which nothing has started fails."""
        return self.created_at_ms + self.spec.execution.start_deadline_s * 1000

    @property
    def active_deadline_ms(self) -> int | None:
        """When a request that has started is ended, None before that."""
        if self.started_at_ms is None:
            return None
        return self.started_at_ms + self.spec.execution.active_deadline_s * 1000


@dataclass(frozen=True, slots=True)
class ActiveCapture:
    """A capture that runs now, as the fleet's view shows it."""

    request_id: str
    profile: str
    started_at_ms: int


@dataclass(frozen=True, slots=True)
class Counts:
    """How many targets stand where."""

    targets: int
    pending: int
    running: int
    succeeded: int
    failed: int
    skipped: int
    cancelled: int

    @property
    def progress(self) -> str:
        """Ended of all targets, such as "3/8"."""
        return f"{self.targets - self.pending - self.running}/{self.targets}"


def counts(request: Request) -> Counts:
    """Count the targets of a request by phase."""
    phases = [target.phase for target in request.targets]
    return Counts(
        targets=len(phases),
        pending=phases.count(Phase.PENDING),
        running=phases.count(Phase.RUNNING),
        succeeded=phases.count(Phase.SUCCEEDED),
        failed=phases.count(Phase.FAILED),
        skipped=phases.count(Phase.SKIPPED),
        cancelled=phases.count(Phase.CANCELLED),
    )
