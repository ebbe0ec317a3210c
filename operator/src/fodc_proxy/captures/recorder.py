# SPDX-License-Identifier: Apache-2.0
"""Writes the records of requests down, and tells who waits whether a new one is taken in.

The one idea: a request is stored in a task of its own, so it is taken in or not whatever its caller
does, and all who ask for the same id get the same answer.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from fodc_protocol.errors import FodcError
from fodc_proxy.captures import events
from fodc_proxy.captures.lanes import Lanes
from fodc_proxy.captures.model import Request
from fodc_proxy.storage.errors import StorageError
from fodc_proxy.storage.records import Records

_log = logging.getLogger(__name__)


class Recorder:
    """One lane per record; `find` returns a request as it is, `happened` takes what came of it."""

    def __init__(
        self,
        records: Records[Request],
        lanes: Lanes,
        find: Callable[[str], Request | None],
        happened: Callable[[events.Event], None],
    ) -> None:
        self._records = records
        self._lanes = lanes
        self._find = find
        self._happened = happened
        self._queued: set[str] = set()
        self._accepting: dict[str, asyncio.Future[None]] = {}

    # ---- new requests -----------------------------------------------------------------------

    def expect(self, request_id: str) -> None:
        """A new request is about to be stored."""
        self._accepting[request_id] = asyncio.get_running_loop().create_future()

    async def accepted(self, request_id: str) -> None:
        """Wait until a request is stored; raises StorageError when it cannot be."""
        accepting = self._accepting.get(request_id)
        if accepting is not None:
            await asyncio.shield(accepting)

    def _answer(self, request_id: str, error: FodcError | None) -> None:
        accepting = self._accepting.pop(request_id, None)
        if accepting is None or accepting.done():
            return
        if error is None:
            accepting.set_result(None)
            return
        accepting.set_exception(error)
        accepting.exception()  # nobody may wait for it any more

    def stop(self) -> None:
        """Nobody is told any more that a request is taken in."""
        for request_id in tuple(self._accepting):
            self._answer(request_id, StorageError("the proxy ends; ask again with the same id"))

    # ---- records ----------------------------------------------------------------------------

    def save_soon(self, request_id: str) -> None:
        """Store a record; changes that meet share one write."""
        if request_id not in self._queued:
            self._queued.add(request_id)
            self._lanes.put(_lane(request_id), partial(self._save, request_id))

    def remove_soon(self, request_id: str) -> None:
        """Remove a record, after what is being written."""
        self._lanes.put(_lane(request_id), partial(self._remove, request_id))

    async def written(self, request_id: str) -> None:
        """Wait until what is to be written of a request now was tried."""
        await self._lanes.reached(_lane(request_id))

    async def _save(self, request_id: str) -> None:
        self._queued.discard(request_id)
        request = self._find(request_id)
        if request is None:
            return
        try:
            await self._records.save(request)
        except FodcError as error:
            _log.warning("request %s is not stored yet: %s", request_id, error.message)
            self._happened(events.NotSaved(request_id))
            self._answer(request_id, error)
            return
        self._log(request)
        self._happened(events.Saved(request_id, request.revision))
        self._answer(request_id, None)

    def _log(self, request: Request) -> None:
        if request.id in self._accepting:
            _log.info("request %s accepted: %d targets", request.id, len(request.targets))
        if request.phase.ended:
            told = (request.id, request.phase, request.reason, request.message)
            _log.info("request %s ended: %s %s %s", *told)

    async def _remove(self, request_id: str) -> None:
        try:
            await self._records.remove(request_id)
        except FodcError as error:
            _log.warning("record of request %s stays: %s", request_id, error.message)


def _lane(request_id: str) -> str:
    return f"record {request_id}"
