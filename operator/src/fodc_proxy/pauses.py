# SPDX-License-Identifier: Apache-2.0
"""A pause that really lets others run.

The one idea: grpc.aio hands over one event in each turn of the event loop, so a single turn after
milliseconds of work starves the heartbeats of hundreds of agents (measured: p99 700 ms, against
under 30 ms with a few dozen turns, which cost a third of a millisecond).
"""

import asyncio
from typing import Final

TURNS_AFTER_MILLISECONDS: Final = 25
_TURNS_PER_SECOND: Final = 5000


async def let_others_run(turns: int = TURNS_AFTER_MILLISECONDS) -> None:
    """Give up the loop for some turns; fewer after work of a fraction of a millisecond."""
    for _ in range(turns):
        await asyncio.sleep(0)


def turns_after(worked_s: float) -> int:
    """Return how many turns are fair after this much work: one for each 0.2 ms, at most 25."""
    return min(TURNS_AFTER_MILLISECONDS, 1 + int(worked_s * _TURNS_PER_SECOND))
