# SPDX-License-Identifier: Apache-2.0
"""Carries out DiagnosticRequests: from the API server to the proxy and back.

The one idea: whatever happens, a change of an object, news of the proxy, a due time, ends in "look
at this key again"; looking compares what is with what should be and does one step.  So nothing
depends on which events were seen, and a new process goes on where an old one was killed.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, TypeVar

from fodc_api.words import CancelMode, RequestPhase
from fodc_kube.errors import ClusterError
from fodc_kube.events import Events
from fodc_kube.work_queue import WorkQueue
from fodc_operator.diagnostics import auditing, ports, status, steps
from fodc_operator.diagnostics.figures import Figures
from fodc_operator.diagnostics.pace import Pace, retry_pause_ms
from fodc_operator.diagnostics.steps import Seen
from fodc_operator.diagnostics.submitting import Never, NotNow, Submitter, Taken, awaiting
from fodc_operator.diagnostics.tracks import Track
from fodc_operator.diagnostics.translate import is_from_resource, proxy_cancel, request_id
from fodc_operator.diagnostics.turns import next_turns
from fodc_operator.diagnostics.writing import KIND, Outcome, Writer
from fodc_operator.resources import diagnostic_request as resource
from fodc_operator.resources.diagnostic_request import Identity, Key, RequestSpec
from fodc_protocol.fields import FieldError
from fodc_protocol.metrics.samples import Sample
from fodc_proxy.access.audit import Deed
from fodc_proxy.captures.engine import UnknownRequestError
from fodc_proxy.captures.model import Request

WORKERS: Final = 8
KeyT = TypeVar("KeyT", bound=Hashable)
_log = logging.getLogger(__name__)


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000


class _Chore(StrEnum):
    """What is done from time to time, whatever the watch tells."""

    RESYNC = "resync"
    CHECK_OPEN = "check of open requests"


class Controller:
    """Belongs to the main event loop: build, `run` as a task, `seen` and `gone` from the watch."""

    def __init__(
        self,
        cluster: ports.Cluster,
        engine: ports.Engine,
        registry: ports.Registry,
        events: Events,
        *,
        home_namespace: str = "default",
        namespaces: Sequence[str] = (),
        pace: Pace | None = None,
        figures: Figures | None = None,
        clock_ms: Callable[[], int] = _unix_ms,
        audit: Callable[[Deed], None] = lambda _: None,
    ) -> None:
        self._cluster = cluster
        self._engine = engine
        self._submitter = Submitter(
            cluster, engine, registry, home_namespace, clock_ms, audit=audit
        )
        self._audit = audit
        self._namespaces: Sequence[str | None] = tuple(namespaces) or (None,)
        self._pace = pace or Pace()
        self.figures = figures or Figures()
        self._writer = Writer(cluster, events, self.figures)
        self._clock_ms = clock_ms
        self._queue = self._queue_of(self._look, WORKERS, self._retry)
        self._chores = self._queue_of(self._do, 1, None)
        self._tracks: dict[Key, Track] = {}
        self._keys: dict[str, Key] = {}
        # Not given to the proxy yet, with the time of creation; and given to it and not ended.
        self._waiting: dict[Key, int] = {}
        self._open: set[Key] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._grace_until_ms = 0
        self._synced = asyncio.Event()

    # ---- life ---------------------------------------------------------------------------------

    def _queue_of(
        self,
        look: Callable[[KeyT], Awaitable[None]],
        workers: int,
        failed: Callable[[KeyT], None] | None,
    ) -> WorkQueue[KeyT]:
        return WorkQueue(
            look, workers=workers, clock_s=lambda: self._clock_ms() / 1000, failed=failed
        )

    @property
    def is_synced(self) -> bool:
        """Whether all objects have been read once since the start."""
        return self._synced.is_set()

    async def run(self) -> None:
        """Work until cancelled; what is open in the proxy goes on and is found again later."""
        self._grace_until_ms = self._clock_ms() + self._pace.grace_ms
        unsubscribe = self._engine.subscribe(self._progressed)
        for chore in _Chore:
            self._chores.put(chore)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._chores.run(), name="chores of requests")
                group.create_task(self._work(), name="looks at requests")
        finally:
            unsubscribe()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self) -> None:
        """Look at nothing before everything is known: turns are given by age."""
        await self._synced.wait()
        await self._queue.run()

    def _put(self, key: Key, due_ms: int | None = None) -> None:
        self._queue.put(key, None if due_ms is None else due_ms / 1000)

    def wake(self) -> None:
        """Look at the clock again: it was turned."""
        self._queue.wake()
        self._chores.wake()

    # ---- what the watch says ------------------------------------------------------------------

    async def seen(self, body: Mapping[str, Any]) -> None:
        """Take note of an object that is there; an older state of it changes nothing."""
        try:
            identity, version = resource.identity_of(body), resource.version_of(body)
        except FieldError as error:
            _log.error("a DiagnosticRequest cannot be read: %s", error.message)
            return
        known = self._tracks.get(identity.key)
        if known is not None and version <= known.version:
            return  # watch, list and our own writes overlap
        if known is not None and known.seen.identity.uid != identity.uid:
            self._forget(identity.key)
            known = None
        if identity.is_deleting:
            self._forget(identity.key)
            return
        written = status.remembered(resource.status_of(body))
        self._adopt(Seen(identity, _spec_of(body), written), version, known)

    def _adopt(self, seen: Seen, version: int, known: Track | None) -> None:
        identity = seen.identity
        if known is None:
            track = Track(seen, version, request_id(identity))
            self._tracks[identity.key] = track
            self._keys[track.request_id] = identity.key
            self._line_up(identity, track)
            self._put(identity.key)
            return
        known.version = version
        # What we wrote ourselves comes back here and is no news.
        if (seen.identity, seen.status) != (known.seen.identity, known.seen.status):
            known.seen = seen
            self._put(identity.key)
            if status.has_ended(seen.status):
                self._leave(identity.key)

    def _line_up(self, identity: Identity, track: Track) -> None:
        if status.has_ended(track.seen.status):
            return
        if self._find(track.request_id) is None:
            self._waiting[identity.key] = identity.created_at_ms
        else:
            track.has_turn = True
            self._open.add(identity.key)

    async def gone(self, body: Mapping[str, Any]) -> None:
        """Take note that an object was deleted: what runs for it is aborted."""
        try:
            identity = resource.identity_of(body)
        except FieldError:
            return
        known = self._tracks.get(identity.key)
        if known is not None and known.seen.identity.uid == identity.uid:
            self._forget(identity.key)

    def _forget(self, key: Key) -> None:
        track = self._tracks.pop(key, None)
        self._queue.drop(key)
        if track is None:
            return
        self._keys.pop(track.request_id, None)
        self._leave(key)
        request = self._find(track.request_id)
        if request is not None and not request.phase.ended:
            self._abort(track.request_id)

    def _abort(self, identifier: str) -> None:
        self._spawn(self._cancel(identifier), f"abort {identifier}")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _cancel(self, identifier: str) -> None:
        _log.info("request %s is aborted: its DiagnosticRequest is gone", identifier)
        with contextlib.suppress(UnknownRequestError):
            await self._engine.cancel(identifier, CancelMode.ABORT)

    # ---- what the proxy says ------------------------------------------------------------------

    def _progressed(self, request: Request) -> None:
        key = self._keys.get(request.id)
        track = None if key is None else self._tracks.get(key)
        if key is None or track is None:
            return
        is_news = request.phase is not track.phase
        soon_ms = track.looked_ms + self._pace.between_writes_ms
        self._put(key, None if is_news else max(soon_ms, self._clock_ms()))

    def _find(self, identifier: str) -> Request | None:
        try:
            return self._engine.get(identifier)
        except UnknownRequestError:
            return None

    # ---- the truth, from time to time ---------------------------------------------------------

    async def _do(self, chore: "_Chore") -> None:
        pause_ms = self._pace.check_open_ms
        if chore is _Chore.RESYNC:
            pause_ms = await self._resynced()
        else:
            await self._check_open()
        self._chores.put(chore, (self._clock_ms() + pause_ms) / 1000)

    async def _resynced(self) -> int:
        """Read all objects; return the pause until the next time."""
        try:
            await self.resync()
        except ClusterError as error:
            _log.warning("DiagnosticRequests cannot be listed yet: %s", error.message)
            return self._pace.relist_ms
        return self._pace.resync_ms

    async def resync(self) -> None:
        """Read all objects: a broken watch may have lost that some are gone; raises ClusterError.

        A request of the proxy whose object is gone is aborted.
        """
        before = dict(self._tracks)
        bodies = [
            body
            for namespace in self._namespaces
            for body in (await self._cluster.list(KIND, namespace)).items
        ]
        uids = {str(body["metadata"].get("uid")) for body in bodies}
        for body in bodies:
            await self.seen(body)
        for key, track in before.items():
            if track.seen.identity.uid not in uids and self._tracks.get(key) is track:
                await self._check_gone(key, track)
        self._abort_orphans()
        # Now the oldest is known, and what an earlier process had begun is counted.
        self._synced.set()
        self._give_turns()

    async def _check_gone(self, key: Key, track: Track) -> None:
        """It was not in the list; it may have been made since then, hence the second look."""
        found = await self._writer.find(key)
        if found is not None:
            await self.seen(found)
        is_same = found is not None and found["metadata"].get("uid") == track.seen.identity.uid
        if self._tracks.get(key) is track and not is_same:
            self._forget(key)

    async def _check_open(self) -> None:
        """End soon what runs for an object that is gone; a broken watch tells no deletion."""
        for key in tuple(self._open):
            track = self._tracks.get(key)
            try:
                if track is not None:
                    await self._check_gone(key, track)
            except ClusterError as error:
                _log.warning("%s cannot be read: %s", key, error.message)
                return

    def _abort_orphans(self) -> None:
        for request in self._engine.select():
            ours = is_from_resource(request.id) and request.id not in self._keys
            if ours and not request.phase.ended:
                self._abort(request.id)

    # ---- turns --------------------------------------------------------------------------------

    def _give_turns(self) -> None:
        """Let in who may be, when there is room."""
        if not self.is_synced or len(self._open) >= self._pace.open_requests:
            return
        for key in next_turns(self._waiting, self._open, self._pace.open_requests):
            del self._waiting[key]
            self._open.add(key)
            self._tracks[key].has_turn = True
            self._put(key)

    def _leave(self, key: Key) -> None:
        """The request has ended or its object is gone: another one may come in."""
        self._waiting.pop(key, None)
        self._open.discard(key)
        self._give_turns()

    # ---- looking at one -----------------------------------------------------------------------

    async def _look(self, key: Key) -> None:
        track = self._tracks.get(key)
        if track is None:
            return
        request = self._find(track.request_id)
        track.looked_ms = self._clock_ms()
        track.phase = None if request is None else request.phase
        if not track.has_turn:
            self._give_turns()
        step = steps.next_step(track.seen, request, self._clock_ms(), has_turn=track.has_turn)
        match step:
            case steps.Settle():
                await self._settle(key, track, step)
            case steps.Submit(spec):
                await self._submit(key, track, spec)
            case steps.EndEarly(mode):
                wanted = proxy_cancel(mode)
                await self._engine.cancel(track.request_id, wanted)
                self._audit(auditing.cancelled(track.seen.identity, wanted, self._clock_ms()))
                self._put(key)
            case steps.Expire():
                self._concluded(key, track, await self._writer.delete(track.seen.identity))

    async def _settle(self, key: Key, track: Track, step: steps.Settle) -> None:
        """Write a status if it differs, at once when the phase changes."""
        before, after = track.seen.status, track.wanted(step.status)
        if step.look_again_ms is not None:
            self._put(key, step.look_again_ms)
        changes, now_ms = status.merge_patch(before, after), self._clock_ms()
        if not changes:
            return
        earliest_ms = track.written_ms + self._pace.between_writes_ms
        if track.must_wait(changes, now_ms):
            self._try_details_later(key, track)
        elif before.get("phase") == after.get("phase") and now_ms < earliest_ms:
            self._put(key, earliest_ms)
        else:
            await self._write(key, track, before, after)

    async def _write(
        self, key: Key, track: Track, before: Mapping[str, object], after: status.Json
    ) -> None:
        write = await self._writer.write(track.seen.identity, track.version, before, after)
        if write.outcome is not Outcome.WRITTEN:
            self._concluded(key, track, write.outcome)
            return
        is_end = status.has_ended(after)
        now_ms = self._clock_ms()
        track.wrote(after, write.version, now_ms, is_whole=write.is_whole, is_end=is_end)
        if is_end and not status.has_ended(before):
            self._ended(key, track, after)
        self._put(key)

    def _try_details_later(self, key: Key, track: Track) -> None:
        again_ms = track.next_try_ms()
        if again_ms is not None:
            self._put(key, again_ms)

    def _ended(self, key: Key, track: Track, after: Mapping[str, object]) -> None:
        request = self._find(track.request_id)
        self.figures.ended(str(after["phase"]), str(after.get("reason", "")), request)
        self._leave(key)

    def _concluded(self, key: Key, track: Track, outcome: Outcome) -> None:
        """A write or a deletion came to nothing, or to the end of the object."""
        if self._tracks.get(key) is not track:
            return
        match outcome:
            case Outcome.CHANGED:
                self._spawn(self._recheck(key, track), f"check {key}")
            case Outcome.LATER | Outcome.REFUSED:
                self._retry(key)
            case Outcome.WRITTEN:
                self._put(key)

    async def _recheck(self, key: Key, track: Track) -> None:
        try:
            await self._check_gone(key, track)
        except ClusterError as error:
            _log.warning("%s cannot be read: %s", key, error.message)
        if self._tracks.get(key) is track:
            self._retry(key)

    def _retry(self, key: Key) -> None:
        track = self._tracks.get(key)
        if track is None:
            return
        again_ms = self._clock_ms() + retry_pause_ms(track.failures)
        track.failures += 1
        self._put(key, again_ms)

    # ---- giving it to the proxy ---------------------------------------------------------------

    async def _submit(self, key: Key, track: Track, spec: RequestSpec) -> None:
        identity = track.seen.identity
        chosen = await self._submitter.choose(identity, spec)
        if self._tracks.get(key) is not track:
            return  # deleted while the nodes were listed
        if isinstance(chosen, NotNow):
            await self._put_off(key, track, spec, chosen)
            return
        now_ms = self._clock_ms()
        if chosen.missing and now_ms < self._patient_until_ms(identity, spec):
            again_ms = now_ms + self._pace.grace_poll_ms
            await self._say_pending(key, track, spec, awaiting(chosen), again_ms)
            return
        match await self._submitter.give(identity, spec, chosen):
            case Taken() if self._tracks.get(key) is not track:
                self._abort(track.request_id)
            case Taken():
                self._put(key)
            case Never(message):
                refused = steps.refusal(track.seen, message, self._clock_ms())
                await self._settle(key, track, refused)
            case NotNow() as answer:
                await self._put_off(key, track, spec, answer)

    def _patient_until_ms(self, identity: Identity, spec: RequestSpec) -> int:
        """Until when agents are waited for: those that are there shall still have their time."""
        half_ms = spec.execution.start_deadline_s * 500
        return min(self._grace_until_ms, identity.created_at_ms + half_ms)

    async def _put_off(self, key: Key, track: Track, spec: RequestSpec, why: NotNow) -> None:
        again_ms = self._clock_ms() + retry_pause_ms(track.failures)
        track.failures += 1
        await self._say_pending(key, track, spec, why, again_ms)

    async def _say_pending(
        self, key: Key, track: Track, spec: RequestSpec, why: NotNow, again_ms: int
    ) -> None:
        told = status.waiting(track.seen.identity, spec, RequestPhase.PENDING, why.message)
        failures = track.failures
        await self._settle(key, track, steps.Settle(told, again_ms))
        track.failures = failures

    # ---- figures ------------------------------------------------------------------------------

    def samples(self) -> list[Sample]:
        """Return what the operator tells about requests at its metrics page."""
        phases = Counter(
            str(track.seen.status.get("phase") or RequestPhase.PENDING)
            for track in self._tracks.values()
        )
        oldest_ms = min(self._waiting.values(), default=self._clock_ms())
        oldest_s = (self._clock_ms() - oldest_ms) / 1000
        return self.figures.samples(phases, len(self._waiting), oldest_s)


def _spec_of(body: Mapping[str, Any]) -> RequestSpec | FieldError:
    try:
        return resource.spec_of(body)
    except FieldError as error:
        return error
