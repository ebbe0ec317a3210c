# SPDX-License-Identifier: Apache-2.0
"""One pod's commands: its book, its mailbox, and the order in which things are done.

The one idea: everything that concerns one pod passes one mailbox and is carried out one after the
other, so the effects of the book happen in their order; only the commit of an artifact, which may
take long, runs beside and reports back through the mailbox.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from fodc_protocol.artifacts import Manifest
from fodc_protocol.errors import FodcError, Reason
from fodc_protocol.link import effects as link_effects
from fodc_protocol.link import frames
from fodc_protocol.link.proxy_side import DEFAULT_CREDIT_BYTES, CommandBook
from fodc_proxy.diagnostics import effects
from fodc_proxy.diagnostics.ports import PartialBytes

MAX_HEARD = 4096
_log = logging.getLogger(__name__)


# ---- what comes into the mailbox ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Linked:
    """An agent of this pod has a link."""

    hello: frames.Hello


@dataclass(frozen=True, slots=True)
class Unlinked:
    """The link is gone."""


@dataclass(frozen=True, slots=True)
class Heard:
    """The agent sent a frame of a command."""

    frame: frames.CommandUpdate | frames.ArtifactChunk


@dataclass(frozen=True, slots=True)
class Flooded:
    """The agent sent more than it had credit for; what came after that is lost."""


@dataclass(frozen=True, slots=True)
class Committed:
    """An artifact is stored."""

    command_id: str
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class NotCommitted:
    """An artifact could not be stored."""

    command_id: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Item: TypeAlias = (
    Linked
    | Unlinked
    | Heard
    | Flooded
    | Committed
    | NotCommitted
    | Tick
    | effects.Open
    | effects.Cancel
    | effects.Abandon
)


class Owner(Protocol):
    """Who owns the desks: the coordinator."""

    def now_ms(self) -> int:
        """Unix time."""

    def send(self, address: str, frame: frames.ProxyFrame) -> None:
        """Send a frame, or keep it back until what it confirms is stored."""

    async def commit(self, command_id: str, artifact: frames.Artifact) -> Manifest:
        """Verify and store; raises FodcError."""

    def progressed(self, news: link_effects.Progressed) -> None:
        """A command moved."""

    async def ended(self, news: link_effects.Ended, manifest: Manifest | None) -> None:
        """A command has its outcome; returns when that is stored, or is known not to be."""


class Desk:
    """Carries out everything about one pod, in order."""

    def __init__(
        self,
        address: str,
        owner: Owner,
        partials: PartialBytes,
        *,
        credit_bytes: int = DEFAULT_CREDIT_BYTES,
    ) -> None:
        self.address = address
        self._owner = owner
        self._partials = partials
        self._credit_bytes = credit_bytes
        self._book = CommandBook(credit_bytes=credit_bytes)
        self._items: deque[Item] = deque()
        self._heard = 0
        self._heard_bytes = 0
        self._flooded = False
        self._linked = False
        self._manifests: dict[str, Manifest] = {}
        self._worker: asyncio.Task[None] | None = None
        self._commits: dict[str, asyncio.Task[None]] = {}

    @property
    def is_idle(self) -> bool:
        """Whether this desk may be put away."""
        return not (self._linked or self.is_working or len(self._book))

    @property
    def has_commands(self) -> bool:
        """Whether a command is open."""
        return len(self._book) > 0

    @property
    def is_working(self) -> bool:
        """Whether the mailbox is being worked on or an artifact is being stored."""
        return self._worker is not None or bool(self._commits)

    async def stop(self) -> None:
        """End the work; what is open is found again at the next start."""
        tasks = [task for task in (self._worker, *self._commits.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def settled(self) -> None:
        """Wait until mailbox and commits are empty."""
        while self._worker is not None or self._commits:
            tasks = [task for task in (self._worker, *self._commits.values()) if task is not None]
            await asyncio.wait(tasks)
            # A task that has ended takes itself off the books in its own callback.
            await asyncio.sleep(0)

    # ---- mailbox ------------------------------------------------------------------------------

    def post(self, item: Item) -> None:
        """Add to the mailbox; frames beyond what the agent had credit for end its commands."""
        if isinstance(item, Heard) and not self._has_room(item):
            if self._flooded:
                return
            self._flooded = True
            item = Flooded()
        self._items.append(item)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name=f"captures of {self.address}")

    def _has_room(self, item: Heard) -> bool:
        if isinstance(item.frame, frames.ArtifactChunk):
            self._heard_bytes += len(item.frame.data)
        self._heard += 1
        limit_bytes = 2 * self._credit_bytes * (1 + len(self._book))
        return self._heard <= MAX_HEARD and self._heard_bytes <= limit_bytes

    async def _work(self) -> None:
        try:
            while self._items:
                await self._handle_safely(self._items.popleft())
        finally:
            self._worker = None
            self._heard = self._heard_bytes = 0
            self._flooded = False

    async def _handle_safely(self, item: Item) -> None:
        try:
            await self._carry_out(await self._handle(item))
        except Exception:  # noqa: BLE001 - one item must not cost the pod's other commands
            _log.exception("%s: %s could not be handled", self.address, type(item).__name__)

    async def _handle(self, item: Item) -> list[link_effects.ProxyEffect]:
        now_ms = self._owner.now_ms()
        match item:
            case Linked(hello):
                self._linked = True
                return self._book.linked(hello, now_ms)
            case Unlinked():
                self._linked = False
                self._book.unlinked()
                return []
            case Heard(frame):
                self._note_heard(frame)
                return self._book.received(frame)
            case Flooded():
                return self._refuse_flood()
            case Committed(command_id, manifest):
                self._manifests[command_id] = manifest
                return self._book.stored(command_id)
            case NotCommitted(command_id, reason, message):
                return self._book.storing_failed(command_id, reason, message)
            case Tick():
                return self._book.tick(now_ms)
            case effects.Open(_, command):
                have_bytes = await self._resume_offset(command.command_id)
                return self._book.start(command, now_ms, received_bytes=have_bytes)
            case effects.Cancel(_, command_id, mode):
                return self._book.cancel(command_id, mode)
            case effects.Abandon(_, command_id, reason, message):
                if command_id in self._commits:
                    return []  # its bytes are complete: whether they can be stored decides
                return self._book.abandon(command_id, reason, message)

    def _note_heard(self, frame: frames.CommandUpdate | frames.ArtifactChunk) -> None:
        self._heard -= 1
        if isinstance(frame, frames.ArtifactChunk):
            self._heard_bytes -= len(frame.data)

    def _refuse_flood(self) -> list[link_effects.ProxyEffect]:
        message = "the agent sent more frames than it had credit for"
        _log.warning("%s: %s; its commands are ended", self.address, message)
        asked: list[link_effects.ProxyEffect] = []
        for command_id in self._book.open_commands():
            if command_id not in self._commits:
                asked += self._book.abandon(command_id, Reason.PROTOCOL_ERROR, message)
        return asked

    async def _resume_offset(self, command_id: str) -> int:
        try:
            return await self._partials.size(command_id)
        except FodcError as error:
            _log.warning("%s: %s; fetched from the start", command_id, error.message)
            return 0

    # ---- effects ------------------------------------------------------------------------------

    async def _carry_out(self, asked: list[link_effects.ProxyEffect]) -> None:
        for effect in asked:
            match effect:
                case link_effects.SendProxyFrame(frame):
                    self._owner.send(self.address, frame)
                case link_effects.Append():
                    if not await self._append(effect):
                        return  # what the book wanted next is void
                case link_effects.Discard(command_id):
                    await self._logged(self._partials.discard(command_id))
                case link_effects.Commit(command_id, artifact):
                    self._begin_commit(command_id, artifact)
                case link_effects.Progressed():
                    self._owner.progressed(effect)
                case link_effects.Ended(command_id):
                    await self._owner.ended(effect, self._manifests.pop(command_id, None))

    async def _append(self, effect: link_effects.Append) -> bool:
        try:
            await self._partials.append(effect.command_id, effect.offset, effect.data)
        except FodcError as error:
            ended = self._book.storing_failed(effect.command_id, error.reason, error.message)
            await self._carry_out(ended)
            return False
        return True

    async def _logged(self, work: Awaitable[None]) -> None:
        try:
            await work
        except FodcError as error:
            _log.warning("%s: %s", self.address, error.message)

    def _begin_commit(self, command_id: str, artifact: frames.Artifact) -> None:
        task = asyncio.create_task(
            self._commit(command_id, artifact), name=f"commit of {command_id}"
        )
        self._commits[command_id] = task

    async def _commit(self, command_id: str, artifact: frames.Artifact) -> None:
        outcome: Item
        try:
            manifest = await self._owner.commit(command_id, artifact)
            outcome = Committed(command_id, manifest)
        except FodcError as error:
            outcome = NotCommitted(command_id, error.reason, error.message)
        except Exception as error:  # noqa: BLE001 - whatever happens, the command must end
            _log.exception("%s: commit failed", command_id)
            outcome = NotCommitted(command_id, Reason.INTERNAL, f"storing failed: {error!r}")
        del self._commits[command_id]
        self.post(outcome)
        if isinstance(outcome, Committed):
            await self._logged(self._partials.discard(command_id))
