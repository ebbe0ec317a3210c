# SPDX-License-Identifier: Apache-2.0
"""All requests and the rules by which they move; no I/O, no clock.

The one idea: what happened goes in (submitted, linked, progressed, ended, time passed), what is to
be done comes out as effects; each command that was opened ends here exactly once.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from fodc_protocol import ids
from fodc_protocol.artifacts import Manifest
from fodc_protocol.errors import TRANSIENT, FodcError, Reason
from fodc_protocol.fields import FieldError
from fodc_protocol.link import effects as link_effects
from fodc_protocol.link import frames
from fodc_protocol.link.frames import CommandState
from fodc_proxy.diagnostics import effects
from fodc_proxy.diagnostics.model import (
    CancelMode,
    FailurePolicy,
    Phase,
    Request,
    RequestPhase,
    Result,
    Spec,
    Target,
)
from fodc_proxy.diagnostics.outcomes import begun, finished, reattached
from fodc_proxy.diagnostics.phases import open_phase, settled_target, verdict
from fodc_proxy.diagnostics.planning import Occupancy, Place, Plan, plan
from fodc_proxy.diagnostics.targeting import Candidate, chosen_targets

CANCEL_GRACE_MS = 15_000
FIRST_RETRY_MS = 1_000

Effects = list[effects.LedgerEffect]


class SubmitError(FodcError):
    """A request is not taken in; the reason is BadRequest, Busy or a conflict of ids."""


class ConflictError(SubmitError):
    """The id is taken by a request that asks for something else."""

    default_reason = Reason.BAD_REQUEST


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of what the ledger holds; bytes of one artifact, time in milliseconds."""

    max_open_requests: int = 64
    max_targets: int = 256
    max_running_captures: int = 64
    max_artifact_bytes: int = 256 * 1024 * 1024
    kept_finished: int = 500
    finished_ttl_ms: int = 7 * 24 * 3600 * 1000


@dataclass(slots=True)
class Live:
    """A command that has been opened and has not ended."""

    command: frames.StartCapture
    place: Place
    address: str
    attempt: int
    # The agent has finished recording: what is left is moving bytes.
    recorded: bool = False
    # Until then the agent may answer a cancel.
    cancel_by_ms: int | None = None
    abandoned: bool = False


class Ledger:
    """Requests in the order of their arrival, and the commands that run for them."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._requests: dict[str, Request] = {}
        self._live: dict[str, Live] = {}
        self._linked: set[str] = set()
        # Taken in but not stored yet: they do not start.
        self._held: set[str] = set()

    # ---- questions ----------------------------------------------------------------------

    def get(self, request_id: str) -> Request | None:
        """One request as it stands."""
        return self._requests.get(request_id)

    def requests(self) -> tuple[Request, ...]:
        """All requests, the oldest first."""
        return tuple(self._requests.values())

    def live(self, command_id: str) -> Live | None:
        """What is known of an open command."""
        return self._live.get(command_id)

    def live_on(self, address: str) -> tuple[Live, ...]:
        """Open commands of one pod."""
        return tuple(live for live in self._live.values() if live.address == address)

    def target_of(self, live: Live) -> tuple[Target, Result]:
        """Target and result that an open command works for."""
        target = self._requests[live.place.request_id].targets[live.place.target]
        return target, target.results[live.place.result]

    def _open(self) -> list[Request]:
        return [request for request in self._requests.values() if not request.phase.ended]

    # ---- what people ask ------------------------------------------------------------------

    def submit(
        self, request_id: str, spec: Spec, candidates: Iterable[Candidate], now_ms: int
    ) -> tuple[Request, bool]:
        """Take in a request, and say whether it is new: an equal one of the same id is given back.

        A new one starts with `release`, when it is stored. Raises ConflictError for an id in use,
        SubmitError when too many are
        open, FieldError when too many nodes are meant.
        """
        known = self._requests.get(request_id)
        if known is not None:
            if known.spec == spec:
                return known, False
            message = f"id {request_id} is taken by a request that asks for something else"
            raise ConflictError(message)
        if len(self._open()) >= self._limits.max_open_requests:
            message = f"{self._limits.max_open_requests} requests are open, as many as are allowed"
            raise SubmitError(message, reason=Reason.BUSY)
        targets = chosen_targets(spec, candidates, now_ms)
        if len(targets) > self._limits.max_targets:
            most = self._limits.max_targets
            problem = f"matches {len(targets)} nodes, at most {most} are allowed in one request"
            raise FieldError("target", problem)
        self._requests[request_id] = Request(request_id, spec, targets, now_ms)
        self._settle(request_id, now_ms)
        self._held.add(request_id)
        return self._requests[request_id], True

    def release(self, request_id: str, now_ms: int) -> Effects:
        """A new request is stored: its captures may start."""
        self._held.discard(request_id)
        return self._plan(now_ms)

    def forget(self, request_id: str) -> None:
        """Drop a new request that could not be stored."""
        self._held.discard(request_id)
        self._requests.pop(request_id, None)

    def cancel(self, request_id: str, mode: CancelMode, now_ms: int) -> Effects:
        """End a request early; repeated or milder calls change nothing."""
        request = self._requests[request_id]
        if request.phase.ended or request.cancel in {mode, CancelMode.ABORT}:
            return []
        self._requests[request_id] = replace(request, cancel=mode)
        reason = Reason.CANCELLED if mode is CancelMode.STOP else Reason.ABORTED
        word = "stopped" if mode is CancelMode.STOP else "aborted"
        self._close_pending(
            request_id, Phase.CANCELLED, reason, f"{word} on request before it began", now_ms
        )
        asked = self._end_running(request_id, mode, now_ms)
        return [*asked, *self._settle(request_id, now_ms), *self._plan(now_ms)]

    def _end_running(self, request_id: str, mode: CancelMode, now_ms: int) -> Effects:
        wire = frames.CancelMode.STOP if mode is CancelMode.STOP else frames.CancelMode.ABORT
        asked: Effects = []
        for command_id, live in self._live.items():
            if live.place.request_id != request_id:
                continue
            live.cancel_by_ms = now_ms + CANCEL_GRACE_MS
            asked.append(effects.Cancel(live.address, command_id, wire))
        return asked

    # ---- what the link says -----------------------------------------------------------------

    def linked(self, address: str, now_ms: int) -> Effects:
        """The agent of a pod is there."""
        self._linked.add(address)
        return self._plan(now_ms)

    def unlinked(self, address: str) -> None:
        """The agent of a pod is gone; what runs goes on until its deadline."""
        self._linked.discard(address)

    def progressed(self, news: link_effects.Progressed) -> Effects:
        """A command moved."""
        live = self._live.get(news.command_id)
        if live is None:
            return []
        _, result = self.target_of(live)
        live.recorded = news.state is CommandState.CAPTURED
        # Chunks carry no time of their own: what was told last stays.
        moved = replace(
            result,
            elapsed_ms=max(result.elapsed_ms, news.elapsed_ms),
            received_bytes=news.received_bytes,
            size_bytes=news.size_bytes,
        )
        self._put(live.place, moved)
        return self._settle(live.place.request_id, None)

    def ended(self, news: link_effects.Ended, manifest: Manifest | None, now_ms: int) -> Effects:
        """A command has its outcome; `manifest` describes what was stored."""
        live = self._live.pop(news.command_id, None)
        if live is None:
            return []
        request = self._requests[live.place.request_id]
        _, result = self.target_of(live)
        done = finished(result, news, manifest, request, now_ms)
        if self._may_retry(request, done):
            pause_ms = FIRST_RETRY_MS * 2 ** (done.attempt - 1)
            done = replace(
                done, phase=Phase.PENDING, not_before_ms=now_ms + pause_ms, finished_at_ms=None
            )
        self._put(live.place, done)
        tripped = self._trip(request.id, live, done, now_ms)
        return [*tripped, *self._settle(request.id, now_ms), *self._plan(now_ms)]

    def _may_retry(self, request: Request, result: Result) -> bool:
        ending = request.cancel is not None or bool(request.tripped)
        return (
            result.phase is Phase.FAILED
            and result.reason in TRANSIENT
            and result.attempt <= request.spec.execution.backoff_limit
            and not ending
        )

    def _trip(self, request_id: str, live: Live, result: Result, now_ms: int) -> Effects:
        """FailFast: the first failure ends the others."""
        request = self._requests[request_id]
        fail_fast = request.spec.execution.failure_policy is FailurePolicy.FAIL_FAST
        if not fail_fast or result.phase is not Phase.FAILED or request.tripped:
            return []
        target, _ = self.target_of(live)
        cause = f"{result.capture} failed on {target.node_id} with {result.reason}"
        self._requests[request_id] = replace(request, tripped=cause)
        message = f"not begun: {cause} (failure policy FailFast)"
        self._close_pending(request_id, Phase.CANCELLED, Reason.CANCELLED, message, now_ms)
        return self._end_running(request_id, CancelMode.ABORT, now_ms)

    # ---- time ---------------------------------------------------------------------------------

    def tick(self, now_ms: int) -> Effects:
        """Enforce deadlines, drop old requests, start what has become due."""
        asked: Effects = []
        for request in self._open():
            asked += self._enforce(request, now_ms)
        for command_id, live in self._live.items():
            late = live.cancel_by_ms is not None and now_ms >= live.cancel_by_ms
            if late and not live.recorded and not live.abandoned:
                live.abandoned = True
                message = f"the agent did not confirm the end within {CANCEL_GRACE_MS // 1000} s"
                asked.append(effects.Abandon(live.address, command_id, Reason.CANCELLED, message))
        return [*asked, *self._plan(now_ms), *self._drop_old(now_ms)]

    def _enforce(self, request: Request, now_ms: int) -> Effects:
        active_ms = request.active_deadline_ms
        if active_ms is None:
            if now_ms < request.start_deadline_ms:
                return []
            limit_s = request.spec.execution.start_deadline_s
            why = f": {request.message}" if request.message else ""
            message = f"nothing could start within {limit_s} s{why}"
            reason = Reason.START_DEADLINE_EXCEEDED
            self._close_pending(request.id, Phase.FAILED, reason, message, now_ms)
            return self._settle(request.id, now_ms)
        if now_ms < active_ms:
            return []
        return self._overdue(request, now_ms)

    def _overdue(self, request: Request, now_ms: int) -> Effects:
        message = f"the request's active deadline of {request.spec.execution.active_deadline_s} s"
        reason = Reason.DEADLINE_EXCEEDED
        closed = self._close_pending(
            request.id, Phase.FAILED, reason, f"{message} passed before it began", now_ms
        )
        asked: Effects = []
        for command_id, live in self._live.items():
            if live.place.request_id == request.id and not live.abandoned:
                live.abandoned = True
                told = f"{message} passed while it ran"
                asked.append(effects.Abandon(live.address, command_id, reason, told))
        return [*asked, *(self._settle(request.id, now_ms) if closed else [])]

    def _drop_old(self, now_ms: int) -> Effects:
        """Forget finished requests beyond number or age; their artifacts have their own life."""
        done = [request for request in self._requests.values() if request.phase.ended]
        done.sort(key=lambda request: request.finished_at_ms or request.created_at_ms)
        surplus = len(done) - self._limits.kept_finished
        oldest_ms = now_ms - self._limits.finished_ttl_ms
        asked: Effects = []
        for at, request in enumerate(done):
            if at < surplus or (request.finished_at_ms or request.created_at_ms) < oldest_ms:
                del self._requests[request.id]
                asked.append(effects.Dropped(request.id))
        return asked

    # ---- restart ------------------------------------------------------------------------------

    def restore(
        self, requests: Iterable[Request], stored: Mapping[str, Manifest], now_ms: int
    ) -> Effects:
        """Take over what an earlier life of the proxy has left; once, before anything else.

        `stored` are manifests by command id.  A running capture whose artifact is stored has
        succeeded; one whose deadline has passed has failed; all others are opened again.
        """
        for request in sorted(requests, key=lambda request: (request.created_at_ms, request.id)):
            self._requests[request.id] = request
        asked: Effects = []
        for request in self._open():
            asked += self._reopen(request, stored, now_ms)
        return [*asked, *self._plan(now_ms)]

    def _reopen(self, request: Request, stored: Mapping[str, Manifest], now_ms: int) -> Effects:
        asked: Effects = []
        for place, target, result in _places(request):
            if result.phase is not Phase.RUNNING:
                continue
            command = self._command(request, target, result, now_ms)
            found = reattached(result, stored.get(command.command_id), now_ms)
            self._put(place, found)
            if found.phase is Phase.RUNNING:
                live = Live(command, place, target.address, result.attempt)
                self._live[command.command_id] = live
                asked.append(effects.Open(target.address, command))
        if request.cancel is not None:
            asked += self._end_running(request.id, request.cancel, now_ms)
        elif request.tripped:
            asked += self._end_running(request.id, CancelMode.ABORT, now_ms)
        return [*asked, *self._settle(request.id, now_ms)]

    # ---- inside -------------------------------------------------------------------------------

    def _command(
        self, request: Request, target: Target, result: Result, now_ms: int
    ) -> frames.StartCapture:
        capture = next(c for c in request.spec.captures if c.name == result.capture)
        request_id = ids.RequestId(request.id)
        deadline_ms = result.deadline_at_ms or now_ms
        return frames.StartCapture(
            command_id=ids.command_id(request_id, target.address, result.capture, result.attempt),
            profile=result.profile,
            duration_ms=round(capture.duration_s * 1000),
            timeout_ms=max(deadline_ms - now_ms, 1),
            gc=capture.gc,
            max_bytes=self._limits.max_artifact_bytes,
            request_id=request.id,
        )

    def _plan(self, now_ms: int) -> Effects:
        """Start what may start, oldest request first."""
        waiting = self._open()
        if not waiting:
            return []
        taken = Occupancy(self._limits.max_running_captures, linked=self._linked)
        for live in self._live.values():
            taken.take(live.address, live.command.profile)
        asked: Effects = []
        for request in waiting:
            if request.cancel is not None or request.tripped or request.id in self._held:
                continue
            chosen = plan(request, taken, now_ms)
            asked += [self._begin(place, now_ms) for place in chosen.starts]
            asked += self._note_plan(request.id, chosen, now_ms)
        return asked

    def _begin(self, place: Place, now_ms: int) -> effects.Open:
        request = self._requests[place.request_id]
        target = request.targets[place.target]
        if request.started_at_ms is None:
            request = replace(request, started_at_ms=now_ms)
            self._requests[request.id] = request
        result = begun(target.results[place.result], request, now_ms)
        self._put(place, result)
        command = self._command(request, target, result, now_ms)
        live = Live(command, place, target.address, result.attempt)
        self._live[command.command_id] = live
        return effects.Open(target.address, command)

    def _note_plan(self, request_id: str, chosen: Plan, now_ms: int) -> Effects:
        request = self._requests[request_id]
        busy = chosen.busy if request.started_at_ms is None else ""
        reason = _waiting_reason(busy)
        if not chosen.starts and (request.reason, request.message) == (reason, busy):
            return []
        self._requests[request_id] = replace(request, reason=reason, message=busy)
        return self._settle(request_id, now_ms)

    def _settle(self, request_id: str, now_ms: int | None) -> Effects:
        """Sum up after a change; without a time it is progress only and nothing has ended."""
        request = self._requests[request_id]
        revision = request.revision + 1
        if now_ms is None:
            phase = self._open_phase(request)
            self._requests[request_id] = replace(request, revision=revision, phase=phase)
            return [effects.Changed(request_id, durable=False)]
        targets = tuple(settled_target(target, now_ms) for target in request.targets)
        request = replace(request, targets=targets, revision=revision)
        end = verdict(request)
        if end is None:
            request = replace(request, phase=self._open_phase(request))
        else:
            request = replace(
                request,
                phase=end.phase,
                reason=end.reason,
                message=end.message,
                finished_at_ms=now_ms,
            )
        self._requests[request_id] = request
        return [effects.Changed(request_id, durable=True)]

    def _open_phase(self, request: Request) -> RequestPhase:
        lives = [live for live in self._live.values() if live.place.request_id == request.id]
        pending = any(
            result.phase is Phase.PENDING for target in request.targets for result in target.results
        )
        ending = request.cancel is not None or bool(request.tripped)
        recording = pending or any(not live.recorded for live in lives)
        busy = request.message if request.started_at_ms is None else ""
        return open_phase(request, recording=recording and not ending, busy=busy)

    def _close_pending(
        self, request_id: str, phase: Phase, reason: str, message: str, now_ms: int
    ) -> bool:
        """End every capture of a request that has not begun; says whether there was one."""

        def closed(result: Result) -> Result:
            if result.phase is not Phase.PENDING:
                return result
            told = f"{message}; {result.message}" if result.attempt else message
            return replace(result, phase=phase, reason=reason, message=told, finished_at_ms=now_ms)

        return self._map_results(request_id, closed)

    def _map_results(self, request_id: str, change: Callable[[Result], Result]) -> bool:
        request = self._requests[request_id]
        targets = tuple(
            replace(target, results=tuple(change(result) for result in target.results))
            for target in request.targets
        )
        self._requests[request_id] = replace(request, targets=targets)
        return targets != request.targets

    def _put(self, place: Place, result: Result) -> None:
        request = self._requests[place.request_id]
        target = request.targets[place.target]
        results = (*target.results[: place.result], result, *target.results[place.result + 1 :])
        changed = replace(target, results=results)
        targets = (
            *request.targets[: place.target],
            changed,
            *request.targets[place.target + 1 :],
        )
        self._requests[request.id] = replace(request, targets=targets)


def _places(request: Request) -> list[tuple[Place, Target, Result]]:
    return [
        (Place(request.id, target_at, result_at), target, result)
        for target_at, target in enumerate(request.targets)
        for result_at, result in enumerate(target.results)
    ]


def _waiting_reason(busy: str) -> str:
    if busy.startswith(Reason.PROFILER_BUSY):
        return Reason.PROFILER_BUSY
    if busy.startswith("waits for the agent"):
        return Reason.OFFLINE
    return Reason.BUSY if busy else ""
