# SPDX-License-Identifier: Apache-2.0
"""Conditions of a DiagnosticRequest: the same five from its first status to its last.

The one idea: a condition whose question is not answered yet is Unknown or False and says so; it
turns and never vanishes. Finished turns true at every end, so `kubectl wait
--for=condition=Finished` ends with the request; Succeeded is true when something was captured.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

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
    SUCCEEDED = "Succeeded"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a request ends of which the proxy knows nothing (any more)."""

    phase: RequestPhase
    reason: str
    message: str
    at_ms: int
    is_accepted: bool = True


_WAITS: Final = "Waiting"
_OPEN: Final = "Open"


class _Conditions:
    """The conditions of one generation of an object, each as it was said last."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._all: dict[str, Condition] = {}
        at_ms = identity.created_at_ms
        self.holds(ConditionType.ACCEPTED, at_ms, "Valid", "the request is understood")
        self.open(ConditionType.TARGETS_RESOLVED, _WAITS, "no nodes are chosen")
        self.fails(ConditionType.STARTED, at_ms, _WAITS, "no capture has started")
        self.fails(ConditionType.FINISHED, at_ms, _OPEN, "the request has not ended")
        self.open(ConditionType.SUCCEEDED, _OPEN, "the request has not ended")

    def all(self) -> list[Condition]:
        """Return one condition of each type, in their order."""
        return [self._all[kind] for kind in ConditionType]

    def holds(self, kind: ConditionType, at_ms: int, reason: str, message: str) -> None:
        """Say that a condition is true; `reason` must not be empty, the schema asks for one."""
        self._say(kind, "True", at_ms, reason, message)

    def fails(self, kind: ConditionType, at_ms: int, reason: str, message: str) -> None:
        """Say that a condition is false."""
        self._say(kind, "False", at_ms, reason, message)

    def open(self, kind: ConditionType, reason: str, message: str) -> None:
        """Say that nobody knows it yet."""
        self._say(kind, "Unknown", self._identity.created_at_ms, reason, message)

    def keep(self, one: Condition) -> None:
        """Keep a milestone as it was written."""
        self._all[str(one["type"])] = one

    def _say(self, kind: ConditionType, word: str, at_ms: int, reason: str, message: str) -> None:
        said = kube.Condition(str(kind), word, reason, message)
        generation = self._identity.generation
        self._all[kind] = kube.stamped_at(said, at_ms, generation=generation)


def accepted_only(identity: Identity) -> list[Condition]:
    """Conditions of a request that waits to be given to the proxy."""
    return _Conditions(identity).all()


def of_request(identity: Identity, request: Request) -> list[Condition]:
    """Conditions of a request that the proxy has."""
    found = _Conditions(identity)
    _add_targets(found, request)
    if request.started_at_ms is not None:
        message = "the first capture has started"
        found.holds(ConditionType.STARTED, request.started_at_ms, "Captures", message)
    if request.phase.ended:
        at_ms = request.finished_at_ms or request.created_at_ms
        reason = _cancel_reason(request) if request.phase is RequestPhase.CANCELLED else ""
        verdict = Verdict(request.phase, reason or request.reason, request.message, at_ms)
        _add_end(found, verdict)
    return found.all()


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
    if not verdict.is_accepted:
        at_ms = verdict.at_ms
        found.fails(ConditionType.ACCEPTED, at_ms, verdict.reason, verdict.message)
    for one in _read(before):
        if one.get("type") in _MILESTONES and one.get("status") != "Unknown":
            found.keep(one)
    _add_end(found, verdict)
    return found.all()


_MILESTONES: Final = frozenset({ConditionType.TARGETS_RESOLVED, ConditionType.STARTED})


def _read(status: Mapping[str, object]) -> list[Condition]:
    conditions = status.get("conditions")
    if not isinstance(conditions, list):
        return []
    return [dict(one) for one in conditions if isinstance(one, Mapping)]


def _add_end(found: _Conditions, verdict: Verdict) -> None:
    at_ms, phase, message = verdict.at_ms, verdict.phase, verdict.message
    found.holds(ConditionType.FINISHED, at_ms, str(phase), message)
    if phase in {RequestPhase.SUCCEEDED, RequestPhase.PARTIALLY_SUCCEEDED}:
        found.holds(ConditionType.SUCCEEDED, at_ms, str(phase), message)
    else:
        found.fails(ConditionType.SUCCEEDED, at_ms, verdict.reason or str(phase), message)


def is_true(status: Mapping[str, object], kind: ConditionType) -> bool:
    """Say whether a status has this condition and it holds."""
    return kube.is_true(status, kind)
