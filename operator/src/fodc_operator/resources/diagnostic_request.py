# SPDX-License-Identifier: Apache-2.0
"""A DiagnosticRequest as values: what the API server holds, read strictly.

The one idea: reading gives a frozen spec or an error that names the field by its path in the
resource; the schema refuses most of it earlier, and what it cannot know is refused here in the same
words. Shape: anchors-diagnostics §2.2 and the custom resource definition, which decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from fodc_api.requests import MAX_SPAN_S
from fodc_api.words import FailurePolicy
from fodc_protocol.errors import BadRequestError
from fodc_protocol.fields import FieldError, Fields, shown
from fodc_protocol.profiles import Profile, parse_profile
from fodc_protocol.times import TimeError, parse_rfc3339_ms
from fodc_proxy.access.callers import MAX_NAME_LENGTH
from fodc_proxy.captures.model import Capture, Execution
from fodc_webhook.kinds import CANCELLED_BY, REQUESTED_BY
from fodc_webhook.resources.label_selector import LabelSelector, label_selector

KIND: Final = "DiagnosticRequest"
MAX_NAMES: Final = 256
MAX_CAPTURES: Final = 8
DAY_S: Final = 24 * 3600
DEFAULT_TTL_S: Final = DAY_S


class CancelMode(StrEnum):
    """How somebody ends a request early."""

    STOP = "Stop"
    ABORT = "Abort"


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Where an object stands; two objects of one key may follow each other in time."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Identity:
    """Which object it is and which generation of it; time in Unix milliseconds."""

    key: Key
    uid: str
    generation: int
    created_at_ms: int
    is_deleting: bool = False
    requested_by: str = ""
    """Who created it, as admission stamped it; empty when nobody wrote that down."""
    cancelled_by: str = ""
    """Who ended it early, likewise."""


@dataclass(frozen=True, slots=True)
class Target:
    """Which nodes of the request's own namespace are meant; all fields must hold."""

    names: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    selector: LabelSelector | None = None
    all: bool = False
    include_offline: bool = False


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """What was asked; only `cancel` and `ttl_s` may change later."""

    target: Target
    captures: tuple[Capture, ...]
    execution: Execution = field(default_factory=Execution)
    cancel: CancelMode | None = None
    ttl_s: int = DEFAULT_TTL_S
    purpose: str = ""


# ---- reading --------------------------------------------------------------------------------


def identity_of(body: Mapping[str, object]) -> Identity:
    """Read the metadata of an object; raises FieldError when it is no object of a server."""
    metadata = Fields(body).child("metadata")
    created = metadata.text("creationTimestamp", max_length=40)
    return Identity(
        key=Key(metadata.text("namespace", max_length=253), metadata.text("name", max_length=253)),
        uid=metadata.text("uid", max_length=128),
        generation=metadata.integer("generation", low=0, high=2**63 - 1, default=0),
        created_at_ms=_time_ms(metadata.path("creationTimestamp"), created),
        is_deleting=metadata.has("deletionTimestamp"),
        requested_by=_stamped(body, REQUESTED_BY),
        cancelled_by=_stamped(body, CANCELLED_BY),
    )


def _stamped(body: Mapping[str, object], annotation: str) -> str:
    metadata = body.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    name = annotations.get(annotation) if isinstance(annotations, Mapping) else None
    return name[:MAX_NAME_LENGTH] if isinstance(name, str) else ""


def _time_ms(path: str, text: str) -> int:
    try:
        return parse_rfc3339_ms(text)
    except TimeError as error:
        raise FieldError(path, f"is no time: {error.message}") from None


def version_of(body: Mapping[str, object]) -> int:
    """Return the object's resource version; raises FieldError when it is no number."""
    text = Fields(body).child("metadata").text("resourceVersion", max_length=40)
    if not text.isascii() or not text.isdigit():
        raise FieldError("metadata.resourceVersion", f"is no number: {shown(text)}")
    return int(text)


def spec_of(body: Mapping[str, object]) -> RequestSpec:
    """Read the spec of an object; raises FieldError with the path of the first wrong field."""
    fields = Fields(body).child("spec")
    fields.allow("target", "captures", "execution", "cancel", "ttlSecondsAfterFinished", "purpose")
    captures = _captures(fields)
    return RequestSpec(
        target=_target(fields.child("target"), _selector(body)),
        captures=captures,
        execution=_execution(fields.child("execution"), captures),
        cancel=_cancel(fields),
        ttl_s=fields.integer(
            "ttlSecondsAfterFinished", low=60, high=30 * DAY_S, default=DEFAULT_TTL_S
        ),
        purpose=fields.text("purpose", max_length=256, default=""),
    )


def status_of(body: Mapping[str, object]) -> Mapping[str, object]:
    """Return the status that the server holds, empty when there is none."""
    status = body.get("status")
    return status if isinstance(status, Mapping) else {}


def _selector(body: Mapping[str, object]) -> LabelSelector | None:
    data: object = body
    for name in ("spec", "target", "selector"):
        data = data.get(name) if isinstance(data, Mapping) else None
    return None if data is None else label_selector(data, "spec.target.selector")


def _target(fields: Fields, selector: LabelSelector | None) -> Target:
    fields.allow("names", "roles", "tiers", "selector", "all", "includeOffline")
    target = Target(
        names=fields.texts("names", high=MAX_NAMES, max_length=253),
        roles=fields.texts("roles", high=4, max_length=10),
        tiers=fields.texts("tiers", high=16, max_length=63),
        selector=selector,
        all=fields.flag("all"),
        include_offline=fields.flag("includeOffline"),
    )
    chosen = bool(target.names or target.roles or target.tiers or target.selector)
    if target.all and chosen:
        problem = "excludes names, roles, tiers and selector; give one or the other"
        raise FieldError(fields.path("all"), problem)
    if not target.all and not chosen:
        problem = (
            "is empty: give names, roles, tiers or selector, or say all: true; "
            "an empty target never means everything"
        )
        raise FieldError("spec.target", problem)
    return target


def _cancel(fields: Fields) -> CancelMode | None:
    return fields.choice("cancel", CancelMode, CancelMode.STOP) if fields.has("cancel") else None


# ---- captures -------------------------------------------------------------------------------


def _captures(fields: Fields) -> tuple[Capture, ...]:
    captures: list[Capture] = []
    for item in fields.items("captures", low=1, high=MAX_CAPTURES):
        profile = _profile(item.allow("name", "type", "durationSeconds", "heap", "window"))
        earlier = sum(capture.profile == profile for capture in captures)
        if earlier and profile.facts.exclusive:
            problem = f"at most one {profile.facts.crd_type} per request: a Go process runs one"
            raise FieldError(item.path("type"), problem)
        default = f"{profile}-{earlier + 1}" if earlier else str(profile)
        name = item.text("name", max_length=63, default=default)
        if any(capture.name == name for capture in captures):
            raise FieldError(item.path("name"), f"{name} is taken; names of captures must differ")
        gc = _gc(item, profile)
        end_ms, span_s = _window(item, profile)
        captures.append(
            Capture(name, profile, _sampled_s(item, profile), gc, end_ms=end_ms, span_s=span_s)
        )
    return tuple(captures)


def _profile(item: Fields) -> Profile:
    text = item.text("type", max_length=63)
    try:
        profile = parse_profile(text)
    except BadRequestError:
        profile = None
    if profile is None or profile.facts.crd_type != text:
        accepted = ", ".join(kind.facts.crd_type for kind in Profile)
        told = f"must be one of {accepted}, or a kind that the node offers, got {shown(text)}"
        raise FieldError(item.path("type"), told)
    return profile


def _sampled_s(item: Fields, profile: Profile) -> float:
    facts, path = profile.facts, item.path("durationSeconds")
    if not item.has("durationSeconds"):
        return facts.default_duration_s
    if not facts.timed:
        raise FieldError(path, f"is not allowed for {facts.crd_type}: it is taken in an instant")
    return item.integer("durationSeconds", low=1, high=int(facts.max_duration_s), default=0)


def _gc(item: Fields, profile: Profile) -> bool:
    if not item.has("heap"):
        return False
    if profile is not Profile.HEAP:
        problem = f"is only for HeapSnapshot, not for {profile.facts.crd_type}"
        raise FieldError(item.path("heap"), problem)
    return item.child("heap").allow("gc").flag("gc")


def _window(item: Fields, profile: Profile) -> tuple[int, int]:
    """Read the end in Unix milliseconds and the span in seconds, 0 for what is left out."""
    if not item.has("window"):
        return 0, 0
    if profile is not Profile.WINDOW:
        raise FieldError(
            item.path("window"), f"is only for Window, not for {profile.facts.crd_type}"
        )
    options = item.child("window").allow("endTime", "spanSeconds")
    end = options.text("endTime", max_length=64, default="")
    end_ms = _time_ms(options.path("endTime"), end) if end else 0
    return end_ms, options.integer("spanSeconds", low=1, high=MAX_SPAN_S, default=0)


# ---- execution ------------------------------------------------------------------------------


def _execution(fields: Fields, captures: tuple[Capture, ...]) -> Execution:
    fields.allow(
        "parallelism",
        "startDeadlineSeconds",
        "activeDeadlineSeconds",
        "targetTimeoutSlackSeconds",
        "backoffLimit",
        "failurePolicy",
    )
    execution = Execution(
        parallelism=fields.integer("parallelism", low=1, high=16, default=4),
        start_deadline_s=fields.integer("startDeadlineSeconds", low=1, high=3600, default=300),
        active_deadline_s=fields.integer("activeDeadlineSeconds", low=1, high=7200, default=900),
        target_timeout_slack_s=fields.integer(
            "targetTimeoutSlackSeconds", low=1, high=600, default=30
        ),
        backoff_limit=fields.integer("backoffLimit", low=0, high=3, default=1),
        failure_policy=fields.choice("failurePolicy", FailurePolicy, FailurePolicy.CONTINUE),
    )
    longest = max(captures, key=lambda capture: capture.duration_s)
    if execution.active_deadline_s < longest.duration_s:
        problem = f"is shorter than the longest capture, {longest.name}"
        raise FieldError(fields.path("activeDeadlineSeconds"), problem)
    return execution
