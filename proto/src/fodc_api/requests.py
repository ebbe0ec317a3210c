# SPDX-License-Identifier: Apache-2.0
"""Diagnostic requests: what may be asked of which nodes, and what became of it.

The one idea: a request is checked while its Struct is made, so proxy, client and operator know the
same rules; an empty target is no target, and what is too long is refused instead of cut.
"""

from collections.abc import Iterable
from typing import Annotated, Final, TypeAlias

from msgspec import Meta

from fodc_api.cluster import NodeFilter
from fodc_api.problems import Unreadable
from fodc_api.values import Answer, Asked, Count, Query, RequestId, RuleError, Seconds, Sha256, Time
from fodc_api.words import CancelMode, FailurePolicy, Phase, RequestPhase
from fodc_protocol.errors import BadRequestError
from fodc_protocol.profiles import NO_KINDS, PROFILE_PATTERN, Profile
from fodc_protocol.times import parse_rfc3339_ms

MAX_WAIT_S: Final = 30
MAX_NAMES: Final = 256
MAX_CAPTURES: Final = 8
MAX_PURPOSE_LENGTH: Final = 256
MAX_SPAN_S: Final = 86_400

_Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=317)]
_Word: TypeAlias = Annotated[str, Meta(min_length=1, max_length=63)]


# ---- queries --------------------------------------------------------------------------------


class RequestsQuery(Query, frozen=True):
    """Which requests are listed."""

    phase: Annotated[RequestPhase | None, Meta(description="Only this phase.")] = None
    node_id: NodeFilter = ""


class RequestQuery(Query, frozen=True):
    """Whether to wait for a change of a request."""

    wait_seconds: Annotated[
        int,
        Meta(ge=0, le=MAX_WAIT_S, description="Wait so long for a revision beyond after_revision."),
    ] = 0
    after_revision: Annotated[
        int, Meta(ge=0, le=10**15, description="The revision that the caller has.")
    ] = 0


class CancelQuery(Query, frozen=True):
    """How a request is ended."""

    mode: Annotated[
        CancelMode,
        Meta(
            description="stop still fetches what nodes have finished, abort discards it; "
            "what runs leaves nothing."
        ),
    ] = CancelMode.ABORT


# ---- what is asked --------------------------------------------------------------------------


class Selector(Answer, frozen=True):
    """Which nodes are meant: AND between the fields, OR inside each."""

    names: Annotated[tuple[_Name, ...], Meta(max_length=MAX_NAMES)] = ()
    roles: Annotated[tuple[_Word, ...], Meta(max_length=16)] = ()
    tiers: Annotated[tuple[_Word, ...], Meta(max_length=16)] = ()
    all: Annotated[bool, Meta(description="Every node; excludes names, roles and tiers.")] = False
    include_offline: Annotated[
        bool, Meta(description="Wait for nodes whose agent is away instead of skipping them.")
    ] = False


class SelectorAsked(Selector, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The nodes that a request asks for; an empty one is an error."""

    def __post_init__(self) -> None:
        """Refuse both all and some, and neither."""
        chosen = bool(self.names or self.roles or self.tiers)
        if self.all and chosen:
            raise RuleError("all", "excludes names, roles and tiers; give one or the other")
        if not self.all and not chosen:
            raise RuleError("", 'is empty; give names, roles or tiers, or say "all": true')


PROFILE_SCHEMA: Final[dict[str, object]] = {
    "title": "Profile",
    "description": (
        f"Kind of profile: {', '.join(Profile)}, or another one that the pprof index of the nodes "
        "names, such as goroutineleak."
    ),
    "type": "string",
    "pattern": f"^{PROFILE_PATTERN}$",
    "not": {"enum": sorted(NO_KINDS)},
    "examples": list(Profile),
}
"""How a kind is described to others: the enumeration is open."""


class Capture(Answer, frozen=True):
    """One capture to take on each target; no duration for kinds that are taken in an instant."""

    profile: Profile
    duration_seconds: Annotated[
        float | None,
        Meta(
            description="For cpu, block and mutex 1 to 120, for trace 1 to 30; not for the others.",
            extra_json_schema={"minimum": 1, "maximum": 120},
        ),
    ] = None
    gc: Annotated[bool, Meta(description="Collect garbage first; for heap only.")] = False
    end: Annotated[
        str,
        Meta(
            max_length=64,
            description="For window only: its last instant, RFC 3339; when the request was made, "
            "if left out, so that the windows of all nodes end together.",
            examples=["2026-11-21T09:08:23Z"],
        ),
    ] = ""
    span_seconds: Annotated[
        float | None,
        Meta(
            description="For window only: how long before its end it begins; all that the flight "
            "recorder holds, if left out.",
            extra_json_schema={"minimum": 1, "maximum": MAX_SPAN_S},
        ),
    ] = None


class CaptureAsked(Capture, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A capture that a request asks for."""

    @property
    def duration_s(self) -> float:
        """How long it takes: as asked, else the default of its kind, 0 for an instant."""
        asked = self.duration_seconds
        return self.profile.facts.default_duration_s if asked is None else float(asked)

    @property
    def end_ms(self) -> int:
        """The last instant of a window in Unix milliseconds, 0 where none was said."""
        return parse_rfc3339_ms(self.end) if self.end else 0

    def __post_init__(self) -> None:
        """Hold the fields against what the kind can do."""
        facts = self.profile.facts
        if self.duration_seconds is not None and not facts.timed:
            told = f"is not allowed for {self.profile}: it is taken in an instant"
            raise RuleError("duration_seconds", told)
        if facts.timed and not 1 <= self.duration_s <= facts.max_duration_s:
            told = f"must be 1 to {facts.max_duration_s:g} for {self.profile}"
            raise RuleError("duration_seconds", f"{told}, got {self.duration_s:g}")
        if self.gc and self.profile is not Profile.HEAP:
            raise RuleError("gc", f"is for heap only, not for {self.profile}")
        self._check_window()

    def _check_window(self) -> None:
        for field, given in (("end", self.end), ("span_seconds", self.span_seconds)):
            if given and self.profile is not Profile.WINDOW:
                raise RuleError(field, f"is for window only, not for {self.profile}")
        if self.span_seconds is not None and not 1 <= self.span_seconds <= MAX_SPAN_S:
            told = f"must be 1 to {MAX_SPAN_S}, got {self.span_seconds:g}"
            raise RuleError("span_seconds", told)
        try:
            if self.end and parse_rfc3339_ms(self.end) <= 0:
                raise RuleError("end", "must be after 1970")
        except BadRequestError as error:
            raise RuleError("end", f"is no time: {error.message}") from None


class Execution(Answer, frozen=True):
    """How the captures of a request are carried out."""

    parallelism: Annotated[int, Meta(ge=1, le=16)] = 4
    start_deadline_seconds: Annotated[int, Meta(ge=1, le=3600)] = 300
    active_deadline_seconds: Annotated[int, Meta(ge=1, le=7200)] = 900
    target_timeout_slack_seconds: Annotated[int, Meta(ge=1, le=600)] = 30
    backoff_limit: Annotated[int, Meta(ge=0, le=3)] = 1
    failure_policy: FailurePolicy = FailurePolicy.CONTINUE


class ExecutionAsked(Execution, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a request asks to be carried out."""


class RequestSpec(Asked, frozen=True, kw_only=True):
    """The body of POST /diagnostics/requests."""

    id: Annotated[
        RequestId | None, Meta(description="Makes repeats harmless; made up when left out.")
    ] = None
    target: SelectorAsked
    captures: Annotated[tuple[CaptureAsked, ...], Meta(min_length=1, max_length=MAX_CAPTURES)]
    execution: ExecutionAsked = ExecutionAsked()
    purpose: Annotated[str, Meta(max_length=MAX_PURPOSE_LENGTH, description="Why, for people.")] = (
        ""
    )

    def __post_init__(self) -> None:
        """Hold the captures against each other and against the deadline."""
        _check_exclusive(capture.profile for capture in self.captures)
        longest = max(self.captures, key=lambda capture: capture.duration_s)
        if self.execution.active_deadline_seconds < longest.duration_s:
            told = f"is shorter than the {longest.profile} capture of {longest.duration_s:g} s"
            raise RuleError("execution.active_deadline_seconds", told)


def _check_exclusive(profiles: Iterable[Profile]) -> None:
    seen: set[Profile] = set()
    for place, profile in enumerate(profiles):
        if profile in seen and profile.facts.exclusive:
            told = f"{profile} is there already; one {profile} capture per request"
            raise RuleError(f"captures[{place}].profile", told)
        seen.add(profile)


# ---- what is answered -----------------------------------------------------------------------


class Result(Answer, frozen=True):
    """One capture on one target."""

    capture: Annotated[str, Meta(description="Name of the capture within its request.")]
    profile: str
    phase: Phase
    reason: str
    message: str
    duration_seconds: Seconds
    elapsed_seconds: Seconds
    received_bytes: Count
    size_bytes: Count | None
    sha256: Sha256 | None
    samples: Count | None
    format: str | None
    artifact_id: str | None
    download_path: str | None
    empty: bool
    truncated: bool
    warnings: tuple[str, ...]


class Target(Answer, frozen=True):
    """One node of a request."""

    node_id: str
    namespace: str | None
    agent_id: str
    role: str
    phase: Phase
    reason: str
    message: str
    attempts: Annotated[Count, Meta(description="Captures started on it, repeats included.")]
    started_at: Time | None
    finished_at: Time | None
    results: tuple[Result, ...]


class Counts(Answer, frozen=True):
    """How many targets stand where."""

    targets: Count
    pending: Count
    running: Count
    succeeded: Count
    failed: Count
    skipped: Count
    cancelled: Count


class RequestSummary(Answer, frozen=True):
    """A request without its targets."""

    id: str
    revision: Annotated[Count, Meta(description="Grows with each change.")]
    phase: RequestPhase
    reason: str
    message: str
    created_at: Time
    started_at: Time | None
    finished_at: Time | None
    target: Selector
    captures: tuple[Capture, ...]
    execution: Execution
    purpose: str
    cancel: CancelMode | None
    counts: Counts
    progress: Annotated[
        str, Meta(pattern="^[0-9]+/[0-9]+$", description="Ended of all targets.", examples=["3/8"])
    ]


class Request(RequestSummary, frozen=True):
    """A request with its targets."""

    targets: tuple[Target, ...]


class Requests(Answer, frozen=True):
    """GET /diagnostics/requests, the newest first."""

    requests: tuple[RequestSummary, ...]
    unreadable: Annotated[
        tuple[Unreadable, ...], Meta(description="Records that cannot be read.")
    ] = ()
