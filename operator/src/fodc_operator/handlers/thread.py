# SPDX-License-Identifier: Apache-2.0
"""kopf in a thread and event loop of its own, as long as this operator leads.

The one idea: when kopf stops it cancels every task of its loop, so it gets one where nothing else
lives; and when it ends unasked the program must end too, which whoever owns the thread sees.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import kopf

from fodc_kube.access import Access
from fodc_webhook.handlers.framework import Login, operate, quiet, settings

STOP_S: Final = 3.0
_log = logging.getLogger(__name__)


class HandlersError(Exception):
    """kopf ended without having been asked to."""


class _Asked:
    """A flag that the main loop sets and kopf's loop waits for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_asked = False
        self._waiting: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def ask(self) -> None:
        """Set the flag, from any thread."""
        with self._lock:
            self._is_asked = True
            waiting = self._waiting
        if waiting is not None:
            loop, event = waiting
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(event.set)

    async def wait(self) -> None:
        """Wait until the flag is set."""
        event = asyncio.Event()
        with self._lock:
            if self._is_asked:
                return
            self._waiting = asyncio.get_running_loop(), event
        await event.wait()


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Keep kopf from telling what breaks because it is cancelled: that is no news.

    Nor do tasks tell that nobody looked at; this loop has no others, and ends now.
    """
    logger = logging.getLogger("kopf")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    try:
        yield
    finally:
        logger.setLevel(level)


class HandlersThread:
    """Made in the main loop; `run` in a task of it lets kopf work in a thread until cancelled."""

    def __init__(self, access: Callable[[], Access], namespaces: tuple[str, ...]) -> None:
        """Without handlers yet; `access` is asked anew at each login, no namespaces are all."""
        self.registry = kopf.OperatorRegistry()
        """Where handlers are added before the start; the process-wide one is never used."""
        self._namespaces = namespaces
        self._login = Login(self.registry, access)
        quiet()

    async def run(self) -> None:
        """Handle events; raises HandlersError when kopf ends by itself, and may be run again."""
        asked, ended = _Asked(), asyncio.get_running_loop().create_future()
        work = partial(self._work, asked, ended, asyncio.get_running_loop())
        threading.Thread(target=work, name="kopf", daemon=True).start()
        try:
            await asyncio.shield(ended)
        finally:
            asked.ask()
            await asyncio.wait([ended], timeout=STOP_S)
            if not ended.done():
                _log.warning("kopf did not end within %g s; it ends with the process", STOP_S)

    def _work(
        self, asked: _Asked, ended: asyncio.Future[None], main: asyncio.AbstractEventLoop
    ) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._operate(asked))
        except BaseException as caught:  # noqa: BLE001 - told to the main loop, whatever it is
            error = caught
        try:
            main.call_soon_threadsafe(_tell, ended, error)
        except RuntimeError:
            _log.debug("the main loop ended before kopf")

    async def _operate(self, asked: _Asked) -> None:
        """Let kopf work until it is asked to end; raises HandlersError when it ends otherwise.

        It is cancelled rather than told by its stop flag: then it waits up to 5 s for requests of
        its first scan of the API, which go on on a connection that it has closed already.
        """
        stop = asyncio.create_task(asked.wait(), name="kopf asked to stop")
        operating = asyncio.create_task(
            operate(self.registry, settings(), self._namespaces), name="kopf"
        )
        try:
            await asyncio.wait([stop, operating], return_when=asyncio.FIRST_COMPLETED)
            if stop.done():
                with _unheard():
                    operating.cancel()
                    await asyncio.gather(operating, return_exceptions=True)
                    return
            operating.result()
            raise HandlersError("kopf ended unasked; its log says why")
        finally:
            stop.cancel()
            await self._login.close()


def _tell(ended: asyncio.Future[None], error: BaseException | None) -> None:
    if ended.done():
        return
    if error is None:
        ended.set_result(None)
    else:
        ended.set_exception(HandlersError(f"{type(error).__name__}: {error}"))
