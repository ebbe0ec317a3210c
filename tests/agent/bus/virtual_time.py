# SPDX-License-Identifier: Apache-2.0
"""An event loop whose clock jumps to the next timer as soon as nothing else is left to do."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, grace_s: float) -> None:
        super().__init__()
        self.now_s = 1000.0
        self.in_threads: set[asyncio.Future[Any]] = set()
        self._grace_s = grace_s

    def select(self, timeout=None):
        ready = super().select(0)
        if not ready and timeout != 0 and self._grace_s:
            # A thread wakes the loop when it is done; without a timer only a peer can.
            waits = self.in_threads or timeout is None
            ready = super().select(None if waits else self._grace_s)
        if not ready:
            if timeout is None:
                raise RuntimeError("every task waits and no timer is set: this would hang")
            self.now_s += max(0.0, timeout)
        return ready


def run(main: Coroutine[Any, Any, Any], *, grace_s: float = 0.0) -> Any:
    """Run `main` like asyncio.run; sleeping costs no time.

    With sockets, both ends of which are in this loop, `grace_s` is how long what was sent may be
    under way: only then the clock jumps, and never while a thread works for the loop. So no
    deadline passes because the machine is busy.
    """
    selector = _JumpingSelector(grace_s)
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now_s
    hand_out = loop.run_in_executor

    def counted(*work: Any) -> asyncio.Future[Any]:
        future = hand_out(*work)
        selector.in_threads.add(future)
        future.add_done_callback(selector.in_threads.discard)
        return future

    loop.run_in_executor = counted
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main)
