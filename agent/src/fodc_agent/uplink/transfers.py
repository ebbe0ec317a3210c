# SPDX-License-Identifier: Apache-2.0
"""Captures on behalf of the proxy: begun, watched, ended, their bytes read in chunks.

The one idea: a capture belongs to the agent, not to a connection. It runs on while the line is
cut, and its outcome is told to the session, which knows whom to tell.
"""

import asyncio
import logging
import zlib
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from fodc_protocol.errors import FodcError, Reason
from fodc_protocol.link import effects, frames

_log: Final = logging.getLogger(__name__)
_PROGRESS_EVERY_S: Final = 1.0
_MAX_UINT32: Final = 0xFFFF_FFFF


class CaptureJobs(Protocol):
    """What the agent can capture and what its spool holds; outcomes come back as `Notes`."""

    def begin(self, command: frames.StartCapture) -> None:
        """Start a capture; raise FodcError for one that cannot be."""

    def cancel(self, command_id: str, mode: frames.CancelMode) -> bool:
        """End a running capture; False where none runs."""

    def active(self) -> Iterable[tuple[str, int]]:
        """Return id and start (Unix milliseconds) of what runs."""

    async def read(self, command_id: str, offset: int, length_bytes: int) -> bytes:
        """Return bytes of an artifact in the spool; raise FodcError or OSError."""

    async def forget(self, command_id: str) -> None:
        """Drop what the spool holds of this command."""


class Notes(Protocol):
    """Whom outcomes are told: the session."""

    def noted(self, update: frames.CommandUpdate) -> None:
        """Take how far a capture has come."""


class Transfers:
    """The captures that run for the proxy, and the bytes that it has credit for."""

    def __init__(self, jobs: CaptureJobs, notes: Notes, *, now_ms: Callable[[], int]) -> None:
        self._jobs = jobs
        self._notes = notes
        self._now_ms = now_ms
        self._watch: asyncio.Task[None] | None = None
        self._forgetting: set[asyncio.Task[None]] = set()

    def begin(self, command: frames.StartCapture) -> None:
        """Start a capture; what cannot be started has failed with the reason why."""
        try:
            self._jobs.begin(command)
        except FodcError as error:
            self._failed(command.command_id, error.reason, str(error))
            return
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._tell_progress(), name="capture progress")

    def end(self, command_id: str, mode: frames.CancelMode) -> None:
        """End a running capture."""
        self._jobs.cancel(command_id, mode)

    async def chunk(self, wanted: effects.SendChunk) -> frames.ArtifactChunk | None:
        """Return the bytes that the proxy asks for; None when the spool has lost them."""
        try:
            data = await self._jobs.read(wanted.command_id, wanted.offset, wanted.length_bytes)
        except (OSError, FodcError) as error:
            message = f"the spool lost the artifact: {error}"
            self._failed(wanted.command_id, Reason.STORAGE_FAILED, message)
            return None
        return frames.ArtifactChunk(wanted.command_id, wanted.offset, data, zlib.crc32(data))

    def forget(self, command_id: str) -> None:
        """Nobody wants this outcome any more; a capture that still runs is aborted."""
        self._jobs.cancel(command_id, frames.CancelMode.ABORT)
        task = asyncio.create_task(self._forget(command_id), name=f"forget {command_id}")
        self._forgetting.add(task)
        task.add_done_callback(self._forgetting.discard)

    async def close(self) -> None:
        """Wait for what is under way in the spool; running captures end with their owner."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await asyncio.gather(*self._forgetting, return_exceptions=True)

    def _failed(self, command_id: str, reason: str, message: str) -> None:
        failed = frames.CommandState.FAILED
        self._notes.noted(frames.CommandUpdate(command_id, failed, reason, message))

    async def _forget(self, command_id: str) -> None:
        # An aborted capture is on its way out; its end is a matter of moments, so it is asked for
        # again and again instead of being told.
        while any(active == command_id for active, _ in self._jobs.active()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        try:
            await self._jobs.forget(command_id)
        except (OSError, FodcError) as error:
            _log.warning("forget_failed command_id=%s error=%r", command_id, str(error))

    async def _tell_progress(self) -> None:
        """Tell once a second how long each capture has been running."""
        while active := list(self._jobs.active()):
            for command_id, started_at_ms in active:
                elapsed_ms = self._now_ms() - started_at_ms
                # The wall clock may have been set meanwhile: nonsense stays within the field.
                told_ms = min(max(elapsed_ms, 0), _MAX_UINT32)
                running = frames.CommandState.RUNNING
                self._notes.noted(frames.CommandUpdate(command_id, running, elapsed_ms=told_ms))
            await asyncio.sleep(_PROGRESS_EVERY_S)
