# SPDX-License-Identifier: Apache-2.0
"""Work that must go on: what ends is seen, told, counted and begun again."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

AGAIN_S: Final = 5.0
_log = logging.getLogger(__name__)


async def keep(
    name: str,
    work: Callable[[], Awaitable[object]],
    ends: Counter[str],
    *,
    again_s: float = AGAIN_S,
) -> None:
    """Do it until cancelled; `ends` counts how often it ended otherwise, by name."""
    while True:
        try:
            await work()
            _log.error("%s has ended, which it must not; again in %g s", name, again_s)
        except Exception:  # noqa: BLE001 - told, counted and begun again
            _log.exception("%s failed; again in %g s", name, again_s)
        ends[name] += 1
        await asyncio.sleep(again_s)
