# SPDX-License-Identifier: Apache-2.0
"""Conditions of a DiagnosticRequest, after the manner of a Job's.

The one idea: a condition appears when its question is answered. Finished turns true at every end,
so `kubectl wait --for=condition=Finished` ends with the request; Complete is true when something
was captured, Failed when nothing was, never both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from fodc_api.words import CancelMode, RequestPhase
from fodc_kube import conditions as kube
from fodc_operator.resources.diagnostic_request import Identity
from fodc_protocol.errors import Reason
from fodc_proxy.captures.model import Request

Condition: TypeAlias = dict[str, object]


class ConditionType(StrEnum):
    """Milestones that people wait for."""

    ACCEPTED = "Accepted"
    TARGETS_RESOLVED = "TargetsResolved"
    STARTED = "Started"
    FINISHED = "Finished"
    COMPLETE = "Complete"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a request ends of which the proxy knows nothing (any more)."""

    phase: RequestPhase
    reason: str
    message: str
    at_ms: int
    is_accepted: bool = True


class _Conditions:
    """Collects the conditions of one generation of an object."""

    def __init__(self, identity: Identity) -> None:
        self._generation = identity.generation
        self.all: list[Condition] = []

    def holds(self, kind: ConditionType, at_ms: int, reason: str, message: str) -> None:
        """Add a condition that is true; `reason` must not be empty, the schema asks for one."""
        self._add(kind, "True", at_ms, reason, message)

    def fails(self, kind: ConditionType, at_ms: int, reason: str, message: str) -> None:
        """Add a condition that is false."""
        self._add(kind, "False", at_ms, reason, message)

    def _add(self, kind: ConditionType, word: str, at_ms: int, reason: str, message: str) -> None:
        said = kube.Condition(str(kind), word, reason, message)
        self.all.append(kube.stamped_at(said, at_ms, generation=self._generation))


def accepted_only(identity: Identity) -> list[Condition]:
    """Conditions of a request that waits to be given to the proxy."""
    found = _Conditions(identity)
    _add_accepted(found, identity)
    _add_open(found, identity)
    return found.all


def _add_accepted(found: _Conditions, identity: Identity) -> None:
    at_ms = identity.created_at_ms
    found.holds(ConditionType.ACCEPTED, at_ms, "Valid", "the request is understood")


def _add_open(found: _Conditions, identity: Identity) -> None:
    message = "the request has not ended"
    found.fails(ConditionType.FINISHED, identity.created_at_ms, "Open", message)


def of_request(identity: Identity, request: Request) -> list[Condition]:
    """Conditions of a request that the proxy has."""
    found = _Conditions(identity)
    _add_accepted(found, identity)
    _add_targets(found, request)
    if request.started_at_ms is not None:
        message = "the first capture has started"
        found.holds(ConditionType.STARTED, request.started_at_ms, "Captures", message)
    if request.phase.ended:
        at_ms = request.finished_at_ms or request.created_at_ms
        reason = _cancel_reason(request) if request.phase is RequestPhase.CANCELLED else ""
        verdict = Verdict(request.phase, reason or request.reason, request.message, at_ms)
        _add_end(found, verdict)
    else:
        _add_open(found, identity)
    return found.all


def _cancel_reason(request: Request) -> str:
    return "Stop" if request.cancel is CancelMode.STOP else "Abort"


def _add_targets(found: _Conditions, request: Request) -> None:
    number, at_ms = len(request.targets), request.created_at_ms
    kind = ConditionType.TARGETS_RESOLVED
    if number:
        found.holds(kind, at_ms, "Resolved", f"{number} nodes" if number > 1 else "1 node")
    else:
        found.fails(kind, at_ms, Reason.NO_TARGETS, "no node matches the target")


def of_verdict(
    identity: Identity, verdict: Verdict, before: Mapping[str, object]
) -> list[Condition]:
    """Conditions of a request that ends without the proxy; earlier milestones stay."""
    found = _Conditions(identity)
    if verdict.is_accepted:
        _add_accepted(found, identity)
    else:
        at_ms = verdict.at_ms
        found.fails(ConditionType.ACCEPTED, at_ms, verdict.reason, verdict.message)
    earlier = {str(ConditionType.TARGETS_RESOLVED), str(ConditionType.STARTED)}
    found.all += [one for one in _read(before) if one.get("type") in earlier]
    _add_end(found, verdict)
    return found.all


def _read(status: Mapping[str, object]) -> list[Condition]:
    conditions = status.get("conditions")
    if not isinstance(conditions, list):
        return []
    return [dict(one) for one in conditions if isinstance(one, Mapping)]


def _add_end(found: _Conditions, verdict: Verdict) -> None:
    at_ms, message = verdict.at_ms, verdict.message
    phase = verdict.phase
    reason = verdict.reason or str(phase)
    found.holds(ConditionType.FINISHED, at_ms, str(phase), message)
    if phase in {RequestPhase.SUCCEEDED, RequestPhase.PARTIALLY_SUCCEEDED}:
        found.holds(ConditionType.COMPLETE, at_ms, str(phase), message)
        return
    found.fails(ConditionType.COMPLETE, at_ms, reason, message)
    if phase is RequestPhase.CANCELLED:
        found.holds(ConditionType.CANCELLED, at_ms, reason, message)
    else:
        found.holds(ConditionType.FAILED, at_ms, reason, message)


def is_true(status: Mapping[str, object], kind: ConditionType) -> bool:
    """Say whether a status has this condition and it holds."""
    return kube.is_true(status, kind)
