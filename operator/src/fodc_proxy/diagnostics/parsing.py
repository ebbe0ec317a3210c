# SPDX-License-Identifier: Apache-2.0
"""From the body of POST /diagnostics/requests to a spec, or to an error that names the field.

The one idea: nothing is guessed; an empty target is no target, an unknown field is a mistake, and
a duration beyond what its profile allows is refused instead of cut.
"""

import re
from dataclasses import dataclass

from fodc_protocol.errors import BadRequestError
from fodc_protocol.fields import FieldError, Fields, shown
from fodc_protocol.profiles import Profile, parse_profile
from fodc_proxy.diagnostics.model import Capture, Execution, FailurePolicy, Selector, Spec

MAX_NAMES = 256
MAX_CAPTURES = 8
MAX_REASON_LENGTH = 256
MAX_NAME_LENGTH = 253
MAX_NODE_ID_LENGTH = 63 + 1 + MAX_NAME_LENGTH
"""Of `namespace/pod`."""
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a body asks for; `request_id` is empty when the caller chose none."""

    request_id: str
    spec: Spec


def parse_request(body: object) -> Asked:
    """Read a parsed JSON body (API of the proxy, POST /diagnostics/requests).

    Raises FieldError with the path of the first wrong field.
    """
    fields = Fields(body).allow("id", "target", "captures", "execution", "reason")
    captures = _captures(fields)
    spec = Spec(
        selector=_selector(fields.child("target")),
        captures=captures,
        execution=_execution(fields.child("execution"), captures),
        reason=fields.text("reason", max_length=MAX_REASON_LENGTH, default=""),
    )
    return Asked(_request_id(fields), spec)


def _request_id(fields: Fields) -> str:
    text = fields.text("id", max_length=MAX_NAME_LENGTH, default="")
    if fields.has("id") and not is_request_id(text):
        problem = f"must be 1 to 63 of a-z, 0-9 and '-' (a DNS label), got {shown(text)}"
        raise FieldError(fields.path("id"), problem)
    return text


def is_request_id(text: str) -> bool:
    """Say whether `text` may be the id of a request: a DNS label (RFC 1123)."""
    return _DNS_LABEL.fullmatch(text) is not None


def _selector(fields: Fields) -> Selector:
    fields.allow("names", "roles", "tiers", "all", "include_offline")
    selector = Selector(
        names=fields.texts("names", high=MAX_NAMES, max_length=MAX_NODE_ID_LENGTH),
        roles=fields.texts("roles", high=16, max_length=63),
        tiers=fields.texts("tiers", high=16, max_length=63),
        all=fields.flag("all"),
        include_offline=fields.flag("include_offline"),
    )
    chosen = bool(selector.names or selector.roles or selector.tiers)
    if selector.all and chosen:
        raise FieldError("target.all", "excludes names, roles and tiers; give one or the other")
    if not selector.all and not chosen:
        problem = 'is empty; give names, roles or tiers, or say "all": true'
        raise FieldError("target", problem)
    return selector


def _captures(fields: Fields) -> tuple[Capture, ...]:
    captures: list[Capture] = []
    for item in fields.items("captures", low=1, high=MAX_CAPTURES):
        profile = _profile(item.allow("profile", "duration_seconds", "gc"))
        earlier = sum(capture.profile is profile for capture in captures)
        if earlier and profile.facts.exclusive:
            problem = f"{profile} is there already; one {profile} capture per request"
            raise FieldError(item.path("profile"), problem)
        name = f"{profile}-{earlier + 1}" if earlier else str(profile)
        captures.append(Capture(name, profile, _duration_s(item, profile), _gc(item, profile)))
    return tuple(captures)


def _profile(item: Fields) -> Profile:
    try:
        return parse_profile(item.text("profile", max_length=63))
    except FieldError:
        raise
    except BadRequestError as error:
        raise FieldError(item.path("profile"), error.message.removeprefix("profile ")) from None


def _duration_s(item: Fields, profile: Profile) -> float:
    asked, facts = item.number("duration_seconds"), profile.facts
    if asked is None:
        return facts.default_duration_s
    at = item.path("duration_seconds")
    if not facts.timed:
        raise FieldError(at, f"is not allowed for {profile}: it is taken in an instant")
    if not 1 <= asked <= facts.max_duration_s:
        raise FieldError(at, f"must be 1 to {facts.max_duration_s:g} for {profile}")
    return float(asked)


def _gc(item: Fields, profile: Profile) -> bool:
    gc = item.flag("gc")
    if gc and profile is not Profile.HEAP:
        raise FieldError(item.path("gc"), f"is for heap only, not for {profile}")
    return gc


def _execution(fields: Fields, captures: tuple[Capture, ...]) -> Execution:
    fields.allow(
        "parallelism",
        "start_deadline_seconds",
        "active_deadline_seconds",
        "target_timeout_slack_seconds",
        "backoff_limit",
        "failure_policy",
    )
    execution = Execution(
        parallelism=fields.integer("parallelism", low=1, high=16, default=4),
        start_deadline_s=fields.integer("start_deadline_seconds", low=1, high=3600, default=300),
        active_deadline_s=fields.integer("active_deadline_seconds", low=1, high=7200, default=900),
        target_timeout_slack_s=fields.integer(
            "target_timeout_slack_seconds", low=1, high=600, default=30
        ),
        backoff_limit=fields.integer("backoff_limit", low=0, high=3, default=1),
        failure_policy=fields.choice("failure_policy", FailurePolicy, FailurePolicy.CONTINUE),
    )
    longest = max(captures, key=lambda capture: capture.duration_s)
    if execution.active_deadline_s < longest.duration_s:
        problem = f"is shorter than the {longest.name} capture of {longest.duration_s:g} s"
        raise FieldError(fields.path("active_deadline_seconds"), problem)
    return execution
