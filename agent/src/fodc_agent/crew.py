# SPDX-License-Identifier: Apache-2.0
"""The long-running tasks of the program: watched, restarted, and at the end awaited.

The one idea: no task dies in silence (W-04). One that breaks is logged, counted and started again
after a pause; one that breaks again and again ends the program with a failure, because a restart
of the container is then the better repair.
"""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Final

_log: Final = logging.getLogger(__name__)

MAX_CRASHES: Final = 5
CRASH_PERIOD_S: Final = 60.0
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 10.0

Work = Callable[[], Awaitable[None]]


class Crew:
    """Named tasks that are meant to run for as long as the program; `crashes` counts by name."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.crashes: Counter[str] = Counter()
        self.failed = asyncio.Event()
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, work: Work) -> None:
        """Run `work` under this name; when it returns by itself that is fine."""
        self._tasks.append(asyncio.create_task(self._keep(name, work), name=name))

    async def stop(self, timeout_s: float) -> None:
        """Cancel every task and wait for their end, but not longer than that."""
        for task in self._tasks:
            task.cancel()
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
        for task in late:
            _log.warning("task_ignores_its_end task=%s", task.get_name())

    async def _keep(self, name: str, work: Work) -> None:
        crashed_at_s: deque[float] = deque(maxlen=MAX_CRASHES)
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                await work()
            except Exception:  # noqa: BLE001 - logged, counted, restarted
                _log.exception("task_crashed task=%s", name)
            else:
                return
            self.crashes[name] += 1
            crashed_at_s.append(self._clock())
            if len(crashed_at_s) == MAX_CRASHES and _span_s(crashed_at_s) < CRASH_PERIOD_S:
                _log.error("task_given_up task=%s crashes=%d", name, self.crashes[name])
                self.failed.set()
                return
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


def _span_s(times_s: deque[float]) -> float:
    return times_s[-1] - times_s[0]
