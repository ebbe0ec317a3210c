# SPDX-License-Identifier: Apache-2.0
"""Who watches requests: callbacks that hear of each change, and callers who wait for the next."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

from fodc_protocol.errors import Reason
from fodc_proxy.captures.model import Request
from fodc_proxy.captures.refusals import SubmitError

MAX_WAITERS: Final = 1024
_log = logging.getLogger(__name__)


class Watchers:
    """`find` returns a request as it stands and raises when it does not exist."""

    def __init__(self, find: Callable[[str], Request]) -> None:
        self._find = find
        self._changed: dict[str, asyncio.Event] = {}
        self._waiters = 0
        self._callbacks: list[Callable[[Request], None]] = []

    def subscribe(self, callback: Callable[[Request], None]) -> Callable[[], None]:
        """Call back with each request that changed; the returned function ends that."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def tell(self, request_id: str, request: Request | None) -> None:
        """A request has changed; without one it is gone."""
        changed = self._changed.pop(request_id, None)
        if changed is not None:
            changed.set()
        if request is None:
            return
        for callback in tuple(self._callbacks):
            try:
                callback(request)
            except Exception:  # noqa: BLE001 - one watcher must not cost the others
                _log.exception("a watcher failed on request %s", request_id)

    async def wait(self, request_id: str, after_revision: int, timeout_s: float) -> Request:
        """Return a request as soon as it is beyond a revision, has ended, or time is over."""
        if self._waiters >= MAX_WAITERS:
            raise SubmitError("too many callers wait for requests", reason=Reason.BUSY)
        self._waiters += 1
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    while (request := self._find(request_id)).revision <= after_revision:
                        if request.phase.ended:
                            return request
                        await self._changed.setdefault(request_id, asyncio.Event()).wait()
        finally:
            self._waiters -= 1
        return self._find(request_id)

    def release(self) -> None:
        """Let everybody go who waits."""
        for changed in self._changed.values():
            changed.set()
