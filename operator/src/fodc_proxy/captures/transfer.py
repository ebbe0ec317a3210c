# SPDX-License-Identifier: Apache-2.0
"""From chunks to an artifact: append, verify, store, and only then tell the agent.

The one idea: what is asked for one command is done in one lane, so an acknowledgement leaves after
the bytes that it speaks of are kept, and what was asked after a failure is void.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from fodc_protocol.artifacts import Manifest
from fodc_protocol.errors import FodcError, Reason
from fodc_protocol.link import effects, frames
from fodc_protocol.link.proxy_side import DEFAULT_CREDIT_BYTES
from fodc_proxy.captures import events
from fodc_proxy.captures.effects import Send
from fodc_proxy.captures.lanes import Lanes
from fodc_proxy.captures.ports import Link
from fodc_proxy.storage.artifacts import ArtifactStore
from fodc_proxy.storage.partials import Partials

COMMIT_TIMEOUT_S: Final = 300.0
MAX_WAITING_CHUNKS: Final = 4096
_log = logging.getLogger(__name__)


class Transfers:
    """One lane per command; `describe` makes its manifest, `happened` takes what came of it."""

    def __init__(
        self,
        link: Link,
        artifacts: ArtifactStore,
        partials: Partials,
        lanes: Lanes,
        *,
        describe: Callable[[effects.Commit], Manifest],
        happened: Callable[[events.Event], None],
    ) -> None:
        self._link = link
        self._artifacts = artifacts
        self._partials = partials
        self._lanes = lanes
        self._describe = describe
        self._happened = happened

    def is_flood(self, chunk: frames.ArtifactChunk) -> bool:
        """Whether more bytes wait for the disk than an agent has credit for."""
        chunks, size_bytes = self._lanes.waiting(_lane(chunk.command_id))
        full = size_bytes + len(chunk.data) > 2 * DEFAULT_CREDIT_BYTES
        return (chunks > 0 and full) or chunks > MAX_WAITING_CHUNKS

    def send(self, effect: Send) -> None:
        """Send at once, or after what is being done for the same command."""
        lane = _lane(effect.command_id)
        if effect.command_id and self._lanes.is_busy(lane):
            self._lanes.put(lane, partial(self._send_late, effect))
        else:
            self._link.send(effect.address, effect.frame)

    def do(self, effect: effects.Append | effects.Discard | effects.Commit) -> None:
        """Do it after all that was asked for this command before."""
        lane = _lane(effect.command_id)
        match effect:
            case effects.Append():
                self._lanes.put(lane, partial(self._append, effect), len(effect.data))
            case effects.Discard():
                self._lanes.put(lane, partial(self._discard, effect))
            case effects.Commit():
                self._lanes.put(lane, partial(self._commit, effect))

    async def _send_late(self, effect: Send) -> None:
        self._link.send(effect.address, effect.frame)

    async def _append(self, effect: effects.Append) -> None:
        try:
            await self._partials.append(effect.command_id, effect.offset, effect.data)
        except FodcError as error:
            self._lanes.clear(_lane(effect.command_id))
            self._happened(events.NotStored(effect.command_id, error.reason, error.message))

    async def _discard(self, effect: effects.Discard) -> None:
        try:
            await self._partials.discard(effect.command_id)
        except FodcError as error:
            _log.warning("%s: %s", effect.command_id, error.message)

    async def _commit(self, effect: effects.Commit) -> None:
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                manifest = await self._stored(effect)
        except FodcError as error:
            self._failed(effect, error.reason, error.message)
        except TimeoutError:
            message = f"the artifact store took longer than {COMMIT_TIMEOUT_S:g} s; check it"
            self._failed(effect, Reason.STORAGE_FAILED, message)
        except Exception as error:  # noqa: BLE001 - whatever happens, the command must end
            _log.exception("%s: commit failed", effect.command_id)
            self._failed(effect, Reason.INTERNAL, f"storing failed: {error!r}")
        else:
            self._happened(events.Committed(effect.command_id, manifest))

    async def _stored(self, effect: effects.Commit) -> Manifest:
        told = effect.artifact
        path = await self._partials.verify(effect.command_id, told.size_bytes, told.sha256)
        return await self._artifacts.commit(self._describe(effect), path)

    def _failed(self, effect: effects.Commit, reason: str, message: str) -> None:
        self._happened(events.NotStored(effect.command_id, reason, message))


def _lane(command_id: str) -> str:
    return f"command {command_id}"
