# SPDX-License-Identifier: Apache-2.0
"""How results sum up to targets and targets to a request.

The one idea: the phase of a whole is computed from its parts each time and never kept beside them;
an ended phase is not computed again.  Rules: diagnostic request status, aggregation.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fodc_api.words import CancelMode, Phase, RequestPhase
from fodc_protocol.errors import Reason
from fodc_proxy.captures.model import Request, Result, Target

_CANNOT = frozenset({Reason.UNSUPPORTED, Reason.DISABLED})


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a request has ended."""

    phase: RequestPhase
    reason: str
    message: str


# ---- targets --------------------------------------------------------------------------------


def settled_target(target: Target, now_ms: int) -> Target:
    """Return the target with phase, reason, message and times computed from its results.

    A target without results (its name matches no node) keeps what it was given.
    """
    if target.phase.ended or not target.results:
        return target
    phase = _phase_of(target.results)
    reason, message = _cause(target.results, phase)
    if (phase, reason, message) == (
        target.phase,
        target.reason,
        target.message,
    ) and not phase.ended:
        return target  # most targets, most of the time
    starts = [result.started_at_ms for result in target.results if result.started_at_ms is not None]
    return replace(
        target,
        phase=phase,
        reason=reason,
        message=message,
        started_at_ms=min(starts, default=None),
        finished_at_ms=now_ms if phase.ended else None,
    )


def _phase_of(results: Sequence[Result]) -> Phase:
    phases = {result.phase for result in results}
    if Phase.RUNNING in phases:
        return Phase.RUNNING
    if Phase.PENDING in phases:
        begun = any(result.attempt for result in results)
        return Phase.RUNNING if begun else Phase.PENDING
    if Phase.FAILED in phases:
        return Phase.FAILED
    if Phase.CANCELLED in phases:
        return Phase.CANCELLED
    return Phase.SUCCEEDED if Phase.SUCCEEDED in phases else Phase.SKIPPED


def _cause(results: Sequence[Result], phase: Phase) -> tuple[str, str]:
    """Name the first result that explains the phase, and how many are like it."""
    explaining = Phase.SKIPPED if phase is Phase.SUCCEEDED else phase
    like = [result for result in results if result.phase is explaining and result.reason]
    if not like:
        return "", ""
    first = like[0]
    if len(results) == 1:
        return first.reason, first.message
    counted = f"{len(like)} of {len(results)} captures {explaining.lower()}"
    return first.reason, f"{counted}: {first.capture}: {first.message}"


# ---- the request ----------------------------------------------------------------------------


def verdict(request: Request) -> Verdict | None:
    """Say how the request has ended, None while a target is open."""
    if not all(target.phase.ended for target in request.targets):
        return None
    results = [result for target in request.targets for result in target.results]
    succeeded = sum(result.phase is Phase.SUCCEEDED for result in results)
    if request.cancel is not None:
        return _cancelled(request.cancel, succeeded, len(results))
    if not succeeded:
        return _failed(request, results)
    whole = all(target.results for target in request.targets)
    if succeeded == len(results) and whole:
        return Verdict(RequestPhase.SUCCEEDED, "", f"all {succeeded} captures succeeded")
    reason, message = _shortfall(request, results)
    told = f"{succeeded} of {len(results)} captures succeeded; {message}"
    return Verdict(RequestPhase.PARTIALLY_SUCCEEDED, reason, told)


def _cancelled(mode: CancelMode, succeeded: int, results: int) -> Verdict:
    kept = f"{succeeded} of {results} captures are kept"
    if mode is CancelMode.STOP:
        return Verdict(RequestPhase.CANCELLED, Reason.CANCELLED, f"stopped on request; {kept}")
    return Verdict(RequestPhase.CANCELLED, Reason.ABORTED, f"aborted on request; {kept}")


def _failed(request: Request, results: Sequence[Result]) -> Verdict:
    if not results:
        return Verdict(RequestPhase.FAILED, Reason.NO_TARGETS, _no_targets(request))
    if all(result.phase is Phase.SKIPPED and result.reason in _CANNOT for result in results):
        _, message = _shortfall(request, results)
        return Verdict(RequestPhase.FAILED, Reason.ALL_CAPTURES_UNSUPPORTED, message)
    _, message = _shortfall(request, results)
    tried = [result for result in results if result.phase is not Phase.SKIPPED] or results
    reasons = {result.reason for result in tried}
    whole = {Reason.START_DEADLINE_EXCEEDED, Reason.DEADLINE_EXCEEDED, Reason.OFFLINE}
    if len(reasons) == 1 and reasons <= whole:
        return Verdict(RequestPhase.FAILED, tried[0].reason, message)
    return Verdict(RequestPhase.FAILED, Reason.ALL_TARGETS_FAILED, message)


def _no_targets(request: Request) -> str:
    missing = [target.node_id for target in request.targets]
    if missing:
        return f"none of the named nodes is there: {_some(missing)}"
    return "no node matches the target"


def _shortfall(request: Request, results: Sequence[Result]) -> tuple[str, str]:
    """Name the most frequent cause and say how often each cause was met."""
    causes = Counter(result.reason for result in results if result.phase is not Phase.SUCCEEDED)
    causes.update(target.reason for target in request.targets if not target.results)
    told = ", ".join(f"{count} {cause}" for cause, count in causes.most_common(4))
    most = causes.most_common(1)[0][0]
    example = next(
        (
            f"{target.node_id}: {target.message}"
            for target in request.targets
            if target.reason == most and target.message
        ),
        "",
    )
    tripped = f"; FailFast: {request.tripped}" if request.tripped else ""
    return most, f"{told}{f' ({example})' if example else ''}{tripped}"


def _some(names: Sequence[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def open_phase(request: Request, *, recording: bool, busy: str) -> RequestPhase:
    """Phase of a request that has not ended.

    `recording`: an agent still records for it, or will; `busy`: why nothing could start yet.
    """
    if request.started_at_ms is None:
        return RequestPhase.QUEUED if busy else RequestPhase.PENDING
    return RequestPhase.RUNNING if recording else RequestPhase.FINALIZING
