# SPDX-License-Identifier: Apache-2.0
"""Captures on behalf of the proxy: begun, watched, ended, their bytes read in chunks.

The one idea: a capture belongs to the agent, not to a connection. It runs on while the line is
cut, and its outcome is told to the session, which knows whom to tell.
"""

import asyncio
import contextlib
import logging
import time
import zlib
from collections.abc import Callable
from typing import Final, Protocol

from fodc_protocol.errors import Reason
from fodc_protocol.link import effects, frames

_log: Final = logging.getLogger(__name__)
_PROGRESS_EVERY_S: Final = 1.0


class CaptureFailure(Exception):  # noqa: N818 - an outcome, named like its update
    """A capture ended without an artifact; the reason is one of `Reason`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class CaptureJobs(Protocol):
    """What the agent can capture and what its spool holds."""

    async def capture(self, command: frames.StartCapture) -> frames.Artifact:
        """Take the capture into the spool; raise CaptureFailure. Cancelling it aborts."""

    def stop(self, command_id: str) -> bool:
        """Ask a running capture to end early and keep what it has; False where it cannot."""

    def read(self, command_id: str, offset: int, length_bytes: int) -> bytes:
        """Return bytes of an artifact in the spool; raise OSError or KeyError."""

    def forget(self, command_id: str) -> None:
        """Drop what the spool holds of this command."""


class Notes(Protocol):
    """Whom outcomes are told: the session."""

    def capturing(self, command_id: str, elapsed_ms: int) -> None:
        """It runs."""

    def captured(self, command_id: str, artifact: frames.Artifact) -> None:
        """It is whole in the spool."""

    def capture_failed(self, command_id: str, reason: str, message: str) -> None:
        """It ended without an artifact."""

    def capture_cancelled(self, command_id: str, reason: str, message: str) -> None:
        """It was ended on request."""


class Transfers:
    """The captures that run for the proxy."""

    def __init__(
        self, jobs: CaptureJobs, notes: Notes, *, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._jobs = jobs
        self._notes = notes
        self._monotonic_s = monotonic_s
        self._running: dict[str, asyncio.Task[None]] = {}
        self._discarded: set[str] = set()

    @property
    def running(self) -> int:
        """How many captures run."""
        return len(self._running)

    def begin(self, command: frames.StartCapture) -> None:
        """Start a capture as a task of its own."""
        task = asyncio.create_task(self._capture(command), name=f"capture {command.command_id}")
        self._running[command.command_id] = task
        task.add_done_callback(lambda _: self._running.pop(command.command_id, None))

    def end(self, command_id: str, mode: frames.CancelMode) -> None:
        """End a running capture: keep what there is where possible, else discard it."""
        task = self._running.get(command_id)
        if task is None:
            return
        if mode is frames.CancelMode.STOP and self._jobs.stop(command_id):
            return
        self._discarded.add(command_id)
        task.cancel()

    def chunk(self, wanted: effects.SendChunk) -> frames.ArtifactChunk | None:
        """Return the bytes that the proxy has credit for; None tells the session of their loss."""
        try:
            data = self._jobs.read(wanted.command_id, wanted.offset, wanted.length_bytes)
        except (OSError, KeyError) as error:
            message = f"the spool lost the artifact: {error}"
            self._notes.capture_failed(wanted.command_id, Reason.STORAGE_FAILED, message)
            return None
        if not data:
            return None
        return frames.ArtifactChunk(wanted.command_id, wanted.offset, data, zlib.crc32(data))

    def forget(self, command_id: str) -> None:
        """Nobody wants this outcome any more; a capture that still runs is aborted."""
        self.end(command_id, frames.CancelMode.ABORT)
        self._jobs.forget(command_id)

    async def close(self) -> None:
        """Abort what runs and wait for its end."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _capture(self, command: frames.StartCapture) -> None:
        command_id = command.command_id
        watch = asyncio.create_task(self._watch(command_id), name=f"watch {command_id}")
        try:
            artifact = await self._bounded(command)
        except asyncio.CancelledError:
            if command_id not in self._discarded:
                raise
            self._notes.capture_cancelled(command_id, Reason.ABORTED, "ended and discarded")
        except CaptureFailure as failure:
            self._notes.capture_failed(command_id, failure.reason, str(failure))
        except Exception as error:  # noqa: BLE001 - a fault of a capture is its outcome
            _log.exception("capture_broke command_id=%s", command_id)
            message = f"{type(error).__name__}: {error}"
            self._notes.capture_failed(command_id, Reason.INTERNAL, message)
        else:
            self._notes.captured(command_id, artifact)
        finally:
            self._discarded.discard(command_id)
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch

    async def _bounded(self, command: frames.StartCapture) -> frames.Artifact:
        timeout_s = command.timeout_ms / 1000 if command.timeout_ms else None
        try:
            async with asyncio.timeout(timeout_s):
                return await self._jobs.capture(command)
        except TimeoutError as error:
            message = f"not finished within {timeout_s:g} s"
            raise CaptureFailure(Reason.DEADLINE_EXCEEDED, message) from error

    async def _watch(self, command_id: str) -> None:
        started_s = self._monotonic_s()
        while True:
            elapsed_ms = int((self._monotonic_s() - started_s) * 1000)
            self._notes.capturing(command_id, elapsed_ms)
            await asyncio.sleep(_PROGRESS_EVERY_S)
