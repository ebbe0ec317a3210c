# SPDX-License-Identifier: Apache-2.0
"""Carries out diagnostic requests: the shell around the ledger.

The one idea: the ledger decides and this file does, in an order that survives a crash at any point:
a request is on disk before it is accepted, an artifact before its command has succeeded, and the
outcome of a command before the agent may forget it.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Final

from fodc_protocol import ids
from fodc_protocol.artifacts import Manifest
from fodc_protocol.errors import FodcError, Reason
from fodc_protocol.link import effects as link_effects
from fodc_protocol.link import frames
from fodc_proxy.diagnostics import desk, effects
from fodc_proxy.diagnostics.ledger import Ledger, Limits, SubmitError
from fodc_proxy.diagnostics.model import ActiveCapture, CancelMode, Request, RequestPhase, Spec
from fodc_proxy.diagnostics.ports import Artifacts, Fleet, Link, PartialBytes, RequestRecords
from fodc_proxy.diagnostics.targeting import Candidate
from fodc_proxy.storage import names
from fodc_proxy.storage.errors import StorageError

TICK_S: Final = 1.0
RETENTION_S: Final = 60.0
COMMIT_TIMEOUT_S: Final = 300.0
MAX_WAITERS: Final = 1024
MAX_EVENTS: Final = 1000
MAX_PODS: Final = 20_000
_log = logging.getLogger(__name__)


class UnknownRequestError(FodcError):
    """There is no such request."""

    default_reason = Reason.NOT_FOUND


@dataclass(frozen=True, slots=True)
class HeardEvent:
    """An event of an agent."""

    address: str
    event: frames.Event


@dataclass(slots=True)
class _Saving:
    """How far a request's record is behind."""

    changes: int = 0
    saved: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    # Confirmations that wait until the record is stored.
    withheld: list[tuple[str, frames.ProxyFrame]] = field(default_factory=list)

    @property
    def is_behind(self) -> bool:
        return self.saved < self.changes


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000


class Coordinator:
    """Requests, their captures and their watchers. Belongs to the event loop's thread.

    Implements `serving.ports.LinkListener`.
    """

    def __init__(
        self,
        *,
        fleet: Fleet,
        link: Link,
        artifacts: Artifacts,
        partials: PartialBytes,
        records: RequestRecords,
        limits: Limits | None = None,
        clock_ms: Callable[[], int] = _unix_ms,
    ) -> None:
        self._fleet = fleet
        self._link = link
        self._artifacts = artifacts
        self._partials = partials
        self._records = records
        self._clock_ms = clock_ms
        self._ledger = Ledger(limits)
        self._desks: dict[str, desk.Desk] = {}
        self._saving: dict[str, _Saving] = {}
        self._command_requests: dict[str, str] = {}
        self._changed: dict[str, asyncio.Event] = {}
        self._waiters = 0
        self.is_open = False
        # Who linked before the store was open.
        self._early: dict[str, frames.Hello] = {}
        self._watchers: list[Callable[[Request], None]] = []
        self._tasks: set[asyncio.Task[object]] = set()
        self._timekeeper: asyncio.Task[None] | None = None
        self._retention: asyncio.Task[object] | None = None
        # Incarnation and last event number of each pod's agent.
        self._heard_events: dict[str, tuple[str, int]] = {}
        self.events: deque[HeardEvent] = deque(maxlen=MAX_EVENTS)

    # ---- life ---------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take over what an earlier life has left; before any link is served.

        Raises StorageError when the store cannot be read.
        """
        requests = await self._records.load_all()
        asked = self._ledger.restore(requests, self._artifacts.by_command(), self.now_ms())
        opened = [effect.command.command_id for effect in asked if isinstance(effect, effects.Open)]
        await self._partials.sweep(opened)
        await self._do(asked)
        self.is_open = True
        early, self._early = self._early, {}
        for address, hello in early.items():
            self.linked(address, hello)

    def start(self) -> None:
        """Begin to keep time in the background."""
        self._timekeeper = asyncio.create_task(self._keep_time(), name="diagnostics clock")

    async def stop(self) -> None:
        """End all work; what is open goes on at the next start."""
        if self._timekeeper is not None:
            self._timekeeper.cancel()
            await asyncio.gather(self._timekeeper, return_exceptions=True)
        for one in self._desks.values():
            await one.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for changed in self._changed.values():
            changed.set()

    async def settled(self) -> None:
        """Wait until nothing is in hand: mailboxes, commits and records are done."""
        while True:
            desks = [one for one in self._desks.values() if one.is_working]
            for one in desks:
                await one.settled()
            if self._tasks:
                await asyncio.wait(self._tasks)
            elif not any(one.is_working for one in self._desks.values()):
                return

    async def _keep_time(self) -> None:
        next_retention_s = 0.0
        while True:
            await asyncio.sleep(TICK_S)
            try:
                self.tick()
                if (now_s := asyncio.get_running_loop().time()) >= next_retention_s:
                    next_retention_s = now_s + RETENTION_S
                    self._begin_retention()
            except Exception:  # noqa: BLE001 - time goes on
                _log.exception("a tick failed")

    def tick(self) -> None:
        """Enforce deadlines now; what could not be stored before is tried again beside.

        Never waits for the store: time goes on while it hangs.
        """
        if not self.is_open:
            return
        self._spawn(self._do(self._ledger.tick(self.now_ms())))
        for address, one in tuple(self._desks.items()):
            if one.has_commands:
                one.post(desk.Tick())
            elif one.is_idle:
                del self._desks[address]
        for request_id, saving in tuple(self._saving.items()):
            if saving.is_behind and not saving.lock.locked():
                self._spawn(self._save(request_id))

    def _begin_retention(self) -> None:
        if self._retention is None or self._retention.done():
            self._retention = self._spawn(self.retain())

    async def retain(self) -> None:
        """Remove artifacts beyond the limits of the store."""
        running = {r.id for r in self._ledger.requests() if not r.phase.ended}
        gone = await self._artifacts.retain(running)
        if gone:
            _log.info("retention removed %d artifacts", len(gone))

    # ---- for people -----------------------------------------------------------------------------

    async def submit(
        self, spec: Spec, request_id: str, *, among: Sequence[Candidate] | None = None
    ) -> tuple[Request, bool]:
        """Take in a request, and say whether it is new; it chooses `among` these, or all nodes.

        Raises ConflictError, SubmitError, and StorageError when it cannot be stored: then nothing
        has begun.
        """
        if not self.is_open:
            raise StorageError("the artifact store cannot be used now; /readyz says why")
        candidates = self._fleet.candidates() if among is None else among
        request, is_new = self._ledger.submit(request_id, spec, candidates, self.now_ms())
        saving = self._saving.setdefault(request_id, _Saving())
        if not is_new:
            return request, False
        saving.changes += 1
        error = await self._save(request_id)
        if error is not None:
            self._ledger.forget(request_id)
            self._saving.pop(request_id, None)
            raise error
        _log.info("request %s accepted: %d targets", request_id, len(request.targets))
        self._log_end(request)
        await self._do(self._ledger.release(request_id, self.now_ms()))
        return self.get(request_id), True

    async def cancel(self, request_id: str, mode: CancelMode) -> Request:
        """End a request early; raises UnknownRequestError."""
        self.get(request_id)
        await self._do(self._ledger.cancel(request_id, mode, self.now_ms()))
        return self.get(request_id)

    def get(self, request_id: str) -> Request:
        """A request as it stands; raises UnknownRequestError."""
        request = self._ledger.get(request_id)
        if request is None:
            raise UnknownRequestError(f"request {request_id} does not exist (any more)")
        return request

    def select(
        self, *, phase: RequestPhase | None = None, node_id: str = ""
    ) -> tuple[Request, ...]:
        """Requests that fit, the newest first."""
        return tuple(
            request
            for request in reversed(self._ledger.requests())
            if (phase is None or request.phase is phase) and _concerns(request, node_id)
        )

    async def wait(self, request_id: str, after_revision: int, timeout_s: float) -> Request:
        """A request as soon as its revision is beyond the given one, or when time is over.

        Raises UnknownRequestError, and SubmitError (Busy) when too many wait already.
        """
        if self._waiters >= MAX_WAITERS:
            raise SubmitError("too many callers wait for requests", reason=Reason.BUSY)
        self._waiters += 1
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    while (request := self.get(request_id)).revision <= after_revision:
                        if request.phase.ended:
                            return request
                        await self._changed.setdefault(request_id, asyncio.Event()).wait()
        finally:
            self._waiters -= 1
        return self.get(request_id)

    def subscribe(self, callback: Callable[[Request], None]) -> Callable[[], None]:
        """Call back with each request that changed; the returned function ends that."""
        self._watchers.append(callback)
        return lambda: self._watchers.remove(callback)

    def active_captures(self, address: str) -> tuple[ActiveCapture, ...]:
        """What runs on a pod now."""
        active = []
        for live in self._ledger.live_on(address):
            _, result = self._ledger.target_of(live)
            started_ms = result.started_at_ms or 0
            capture = ActiveCapture(live.place.request_id, result.profile, started_ms)
            active.append(capture)
        return tuple(active)

    # ---- LinkListener ----------------------------------------------------------------------------

    def linked(self, address: str, hello: frames.Hello) -> None:
        """A link stands."""
        if not self.is_open:
            self._early[address] = hello
            return
        if self._heard_events.get(address, ("", 0))[0] != hello.incarnation:
            self._heard_events[address] = (hello.incarnation, 0)
        while len(self._heard_events) > MAX_PODS:
            del self._heard_events[next(iter(self._heard_events))]
        self._desk(address).post(desk.Linked(hello))
        self._spawn(self._do(self._ledger.linked(address, self.now_ms())))

    def unlinked(self, address: str) -> None:
        """The link of this pod is gone."""
        if not self.is_open:
            self._early.pop(address, None)
            return
        self._ledger.unlinked(address)
        self._desk(address).post(desk.Unlinked())

    def heard(
        self, address: str, frame: frames.CommandUpdate | frames.ArtifactChunk | frames.Event
    ) -> None:
        """The agent sent a frame of a command, or an event."""
        if isinstance(frame, frames.Event):
            self._note_event(address, frame)
        elif self.is_open:
            self._desk(address).post(desk.Heard(frame))

    def _note_event(self, address: str, event: frames.Event) -> None:
        """Keep an event once, however often its acknowledgement was lost."""
        incarnation, last = self._heard_events.get(address, ("", 0))
        if event.sequence > last:
            self.events.append(HeardEvent(address, event))
            self._heard_events[address] = (incarnation, event.sequence)
        self._link.send(address, frames.EventAck(event.sequence))

    def _desk(self, address: str) -> desk.Desk:
        one = self._desks.get(address)
        if one is None:
            one = self._desks[address] = desk.Desk(address, self, self._partials)
        return one

    # ---- what the desks ask ---------------------------------------------------------------------

    def now_ms(self) -> int:
        """Unix time."""
        return self._clock_ms()

    def send(self, address: str, frame: frames.ProxyFrame) -> None:
        """Send a frame; a confirmation waits until what it confirms is stored."""
        if isinstance(frame, frames.ArtifactAck) and frame.done:
            request_id = self._command_requests.get(frame.command_id, "")
            saving = self._saving.get(request_id)
            if saving is not None and saving.is_behind:
                saving.withheld.append((address, frame))
                return
            self._command_requests.pop(frame.command_id, None)
        self._link.send(address, frame)

    async def commit(self, command_id: str, artifact: frames.Artifact) -> Manifest:
        """Verify the bytes of a command and make them an artifact; raises FodcError."""
        manifest = self._manifest(command_id, artifact)
        path = await self._partials.verify(command_id, artifact.size_bytes, artifact.sha256)
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                return await self._artifacts.commit(manifest, path)
        except TimeoutError:
            message = f"the artifact store took longer than {COMMIT_TIMEOUT_S:g} s; check it"
            raise FodcError(message, reason=Reason.STORAGE_FAILED) from None

    def _manifest(self, command_id: str, artifact: frames.Artifact) -> Manifest:
        live = self._ledger.live(command_id)
        if live is None:
            raise UnknownRequestError(f"command {command_id} is not open any more")
        target, result = self._ledger.target_of(live)
        version, incarnation = self._fleet.program_of(target.address)
        countable = artifact.format == "pprof"
        name = result.profile + names.extension(result.profile)
        return Manifest(
            artifact_id=ids.artifact_id(ids.CommandId(command_id), name),
            request_id=live.place.request_id,
            command_id=command_id,
            node=target.node_id,
            pod=target.pod_name or target.node_id,
            namespace=target.namespace,
            role=target.role,
            profile=result.profile,
            format=artifact.format,
            size_bytes=artifact.size_bytes,
            sha256=artifact.sha256,
            samples=artifact.samples if countable else None,
            started_at_ms=artifact.started_at_ms,
            finished_at_ms=artifact.finished_at_ms,
            duration_ms=max(artifact.finished_at_ms - artifact.started_at_ms, 0),
            empty=artifact.size_bytes == 0 or (countable and artifact.samples == 0),
            truncated=artifact.truncated,
            warnings=artifact.warnings,
            agent_version=version,
            incarnation=incarnation,
        )

    def progressed(self, news: link_effects.Progressed) -> None:
        """A command moved: tell who watches."""
        for effect in self._ledger.progressed(news):
            if isinstance(effect, effects.Changed):
                self._tell(effect.request_id)

    async def ended(self, news: link_effects.Ended, manifest: Manifest | None) -> None:
        """A command has its outcome; returns when that is stored or is known not to be."""
        await self._do(self._ledger.ended(news, manifest, self.now_ms()))

    # ---- carrying out ----------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[None, None, object]) -> asyncio.Task[object]:
        """Carry out from a place that does not wait; what fails there is logged."""
        task = asyncio.create_task(work, name="diagnostics effects")
        self._tasks.add(task)
        task.add_done_callback(self._despawn)
        return task

    def _despawn(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("diagnostics work failed", exc_info=error)

    async def _do(self, asked: list[effects.LedgerEffect]) -> None:
        """Carry out: commands go to their desks, then records are stored."""
        behind: dict[str, None] = {}
        dropped: list[str] = []
        for effect in asked:
            match effect:
                case effects.Open(address, command):
                    self._command_requests[command.command_id] = command.request_id
                    self._desk(address).post(effect)
                case effects.Cancel(address) | effects.Abandon(address):
                    self._desk(address).post(effect)
                case effects.Changed(request_id, durable):
                    if durable:
                        self._saving.setdefault(request_id, _Saving()).changes += 1
                        behind[request_id] = None
                        self._log_end(self._ledger.get(request_id))
                    self._tell(request_id)
                case effects.Dropped(request_id):
                    dropped.append(request_id)
        for request_id in behind:
            await self._save(request_id)
        for request_id in dropped:
            await self._forget(request_id)

    def _log_end(self, request: Request | None) -> None:
        if request is not None and request.phase.ended:
            told = (request.id, request.phase, request.reason, request.message)
            _log.info("request %s ended: %s %s %s", *told)

    def _tell(self, request_id: str) -> None:
        changed = self._changed.pop(request_id, None)
        if changed is not None:
            changed.set()
        request = self._ledger.get(request_id)
        if request is None:
            return
        for watcher in tuple(self._watchers):
            try:
                watcher(request)
            except Exception:  # noqa: BLE001 - one watcher must not cost the others
                _log.exception("a watcher failed on request %s", request_id)

    async def _save(self, request_id: str) -> FodcError | None:
        """Store a record unless that has just been done; changes that meet share one write."""
        saving = self._saving[request_id]
        wanted = saving.changes
        async with saving.lock:
            request = self._ledger.get(request_id)
            if saving.saved >= wanted or request is None:
                return None
            present = saving.changes
            try:
                await self._records.save(request_id, request)
            except FodcError as error:
                _log.warning("request %s is not stored yet: %s", request_id, error.message)
                return error
            saving.saved = present
        self._confirm(saving)
        return None

    def _confirm(self, saving: _Saving) -> None:
        """What waited for the record may go out now."""
        if saving.is_behind:
            return
        withheld, saving.withheld = saving.withheld, []
        for address, frame in withheld:
            self.send(address, frame)

    async def _forget(self, request_id: str) -> None:
        self._saving.pop(request_id, None)
        self._command_requests = {
            command_id: owner
            for command_id, owner in self._command_requests.items()
            if owner != request_id
        }
        self._tell(request_id)
        try:
            await self._records.remove(request_id)
        except FodcError as error:
            _log.warning("record of request %s stays: %s", request_id, error.message)


def _concerns(request: Request, node_id: str) -> bool:
    return not node_id or any(
        node_id in {target.node_id, target.agent_id, target.address, target.pod_name}
        for target in request.targets
    )
