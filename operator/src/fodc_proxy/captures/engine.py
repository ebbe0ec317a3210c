# SPDX-License-Identifier: Apache-2.0
"""Carries out requests: the shell around the rules.

The one idea: whatever happens is put into one inbox, the rules say what is to be done, and this
file does it: what concerns one capture, or one record, in order; everything else side by side.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from fodc_api.words import CancelMode, RequestPhase
from fodc_protocol.artifacts import Manifest
from fodc_protocol.errors import FodcError, Reason
from fodc_protocol.link import effects as link
from fodc_protocol.link import frames
from fodc_proxy.captures import effects, events
from fodc_proxy.captures.capture import manifest_of
from fodc_proxy.captures.lanes import Lanes
from fodc_proxy.captures.model import ActiveCapture, Request, Spec
from fodc_proxy.captures.ports import Fleet, Link
from fodc_proxy.captures.recorder import Recorder
from fodc_proxy.captures.rules import Rules
from fodc_proxy.captures.table import Limits
from fodc_proxy.captures.targeting import Candidate
from fodc_proxy.captures.transfer import Transfers
from fodc_proxy.captures.watchers import Watchers
from fodc_proxy.storage.artifacts import ArtifactStore
from fodc_proxy.storage.errors import StorageError
from fodc_proxy.storage.partials import Partials
from fodc_proxy.storage.records import Records

TICK_S: Final = 1.0
RETENTION_S: Final = 60.0
_RETENTION: Final = "retention"
_log = logging.getLogger(__name__)


class UnknownRequestError(FodcError):
    """There is no such request."""

    default_reason = Reason.NOT_FOUND


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000


class Engine:
    """Requests, their captures and their watchers. Belongs to the event loop's thread.

    Implements `wire.ports.LinkListener`.
    """

    def __init__(
        self,
        *,
        fleet: Fleet,
        link: Link,
        artifacts: ArtifactStore,
        partials: Partials,
        records: Records[Request],
        limits: Limits | None = None,
        clock_ms: Callable[[], int] = _unix_ms,
    ) -> None:
        self._fleet = fleet
        self._link = link
        self._artifacts = artifacts
        self._partials = partials
        self._records = records
        self._clock_ms = clock_ms
        self._rules = Rules(limits)
        self._inbox: deque[events.Event] = deque()
        self._is_handling = False
        self._lanes = Lanes()
        find = self._rules.state.requests.find
        self._recorder = Recorder(records, self._lanes, find, self._happened)
        self._transfers = Transfers(
            link,
            artifacts,
            partials,
            self._lanes,
            describe=self._describe,
            happened=self._stored_or_not,
        )
        self._watchers = Watchers(self.get)
        self.is_open = False
        # Who linked before the store was open.
        self._early: dict[str, frames.Hello] = {}
        self._timekeeper: asyncio.Task[None] | None = None

    # ---- life ---------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take over what an earlier life has left; until then nothing is taken in.

        Raises StorageError when the store cannot be read.
        """
        requests = await self._records.load_all()
        partial_bytes = await self._partials.sizes()
        stored = self._artifacts.by_command()
        asked = self._rules.restore(requests, stored, partial_bytes, self._clock_ms())
        await self._sweep()
        self._carry_out(asked)
        self.is_open = True
        early, self._early = self._early, {}
        for address, hello in early.items():
            self.linked(address, hello)

    async def _sweep(self) -> None:
        """Drop bytes that nobody waits for."""
        try:
            await self._partials.sweep(self._rules.state.captures)
        except StorageError as error:
            _log.warning("bytes that nobody waits for stay: %s", error.message)

    def start(self) -> None:
        """Begin to keep time in the background."""
        self._timekeeper = asyncio.create_task(self._keep_time(), name="captures' clock")

    async def stop(self) -> None:
        """End all work; what is open goes on at the next start."""
        if self._timekeeper is not None:
            self._timekeeper.cancel()
            await asyncio.gather(self._timekeeper, return_exceptions=True)
        await self._lanes.stop()
        self._recorder.stop()
        self._watchers.release()

    async def settled(self) -> None:
        """Wait until nothing is in hand: bytes, commits and records are done."""
        await self._lanes.settled()

    async def _keep_time(self) -> None:
        next_retention_s = 0.0
        while True:
            await asyncio.sleep(TICK_S)
            self.tick()
            now_s = asyncio.get_running_loop().time()
            if now_s >= next_retention_s and not self._lanes.is_busy(_RETENTION):
                next_retention_s = now_s + RETENTION_S
                self._lanes.put(_RETENTION, self.retain)

    def tick(self) -> None:
        """Enforce deadlines now, and try again to store what could not be stored before."""
        if self.is_open:
            self._happened(events.Ticked())

    async def retain(self) -> None:
        """Remove artifacts beyond the limits of the store."""
        running = {request.id for request in self._rules.state.requests.open()}
        gone = await self._artifacts.retain(running)
        if gone:
            _log.info("retention removed %d artifacts", len(gone))

    # ---- for people -----------------------------------------------------------------------------

    async def submit(
        self,
        spec: Spec,
        request_id: str,
        *,
        among: Sequence[Candidate] | None = None,
        caller: str = "",
    ) -> tuple[Request, bool]:
        """Take in a request, and say whether it is new; it chooses `among` these, or all nodes.

        Once it is being stored it is carried out, whether its caller waits for that or not; all
        who ask for the same id meanwhile get the same answer.  Raises ConflictError, SubmitError,
        and StorageError when it cannot be stored: then there is no such request.
        """
        if not self.is_open:
            raise StorageError("the artifact store cannot be used now; /readyz says why")
        is_new = self._rules.state.requests.known(request_id, spec) is None
        if is_new:
            candidates = self._fleet.candidates() if among is None else among
            now_ms = self._clock_ms()
            asked = self._rules.submit(request_id, spec, candidates, now_ms, caller=caller)
            self._recorder.expect(request_id)
            self._carry_out(asked)
        await self._recorder.accepted(request_id)
        return self.get(request_id), is_new

    async def cancel(self, request_id: str, mode: CancelMode) -> Request:
        """End a request early; raises UnknownRequestError."""
        self.get(request_id)
        self._happened(events.Cancelled(request_id, mode))
        await self._recorder.written(request_id)
        return self.get(request_id)

    def get(self, request_id: str) -> Request:
        """A request as it stands; raises UnknownRequestError."""
        request = self._rules.state.requests.stored(request_id)
        if request is None:
            raise UnknownRequestError(f"request {request_id} does not exist (any more)")
        return request

    def select(
        self, *, phase: RequestPhase | None = None, node_id: str = ""
    ) -> tuple[Request, ...]:
        """Requests that fit, the newest first."""
        return tuple(
            request
            for request in reversed(self._rules.state.requests.all_stored())
            if (phase is None or request.phase is phase) and _concerns(request, node_id)
        )

    async def wait(self, request_id: str, after_revision: int, timeout_s: float) -> Request:
        """A request as soon as its revision is beyond the given one, or when time is over.

        Raises UnknownRequestError, and SubmitError (Busy) when too many wait already.
        """
        return await self._watchers.wait(request_id, after_revision, timeout_s)

    def subscribe(self, callback: Callable[[Request], None]) -> Callable[[], None]:
        """Call back with each request that changed; the returned function ends that."""
        return self._watchers.subscribe(callback)

    def active_captures(self, address: str) -> tuple[ActiveCapture, ...]:
        """What runs on a pod now."""
        return tuple(
            ActiveCapture(request.id, result.profile, result.started_at_ms or 0)
            for capture in self._rules.state.running_on(address)
            for request, _, result in (self._rules.state.standing(capture),)
        )

    # ---- LinkListener ----------------------------------------------------------------------------

    def linked(self, address: str, hello: frames.Hello) -> None:
        """A link stands."""
        if not self.is_open:
            self._early[address] = hello
            return
        self._happened(events.Linked(address, hello))

    def unlinked(self, address: str) -> None:
        """The link of this pod is gone."""
        self._early.pop(address, None)
        if self.is_open:
            self._happened(events.Unlinked(address))

    def heard(self, address: str, frame: frames.CommandUpdate | frames.ArtifactChunk) -> None:
        """The agent sent a frame of a command."""
        if self.is_open:
            is_flood = isinstance(frame, frames.ArtifactChunk) and self._transfers.is_flood(frame)
            self._happened(events.Heard(address, frame, is_flood))

    # ---- the inbox -------------------------------------------------------------------------------

    def _happened(self, event: events.Event) -> None:
        """Take in what happened, after all that happened before."""
        self._inbox.append(event)
        if self._is_handling:
            return
        self._is_handling = True
        try:
            while self._inbox:
                self._handle(self._inbox.popleft())
        finally:
            self._is_handling = False

    def _handle(self, event: events.Event) -> None:
        try:
            self._carry_out(self._rules.handle(event, self._clock_ms()))
        except Exception:  # noqa: BLE001 - one event must not cost the others
            _log.exception("%s could not be handled", type(event).__name__)

    def _carry_out(self, asked: effects.Effects) -> None:
        for effect in asked:
            match effect:
                case effects.Send():
                    self._transfers.send(effect)
                case link.Append() | link.Discard() | link.Commit():
                    self._transfers.do(effect)
                case effects.Save(request_id):
                    self._recorder.save_soon(request_id)
                case effects.Remove(request_id):
                    self._recorder.remove_soon(request_id)
                case effects.Tell(request_id):
                    request = self._rules.state.requests.stored(request_id)
                    self._watchers.tell(request_id, request)

    def _stored_or_not(self, event: events.Event) -> None:
        self._happened(event)
        if self._artifacts.is_over and not self._lanes.is_busy(_RETENTION):
            self._lanes.put(_RETENTION, self.retain)

    def _describe(self, effect: link.Commit) -> Manifest:
        capture = self._rules.state.captures[effect.command_id]
        place = self._rules.state.standing(capture)
        program = self._fleet.program_of(capture.address)
        return manifest_of(effect.command_id, effect.artifact, place, program)


def _concerns(request: Request, node_id: str) -> bool:
    return not node_id or any(
        node_id in {target.node_id, target.agent_id, target.address, target.pod_name}
        for target in request.targets
    )
