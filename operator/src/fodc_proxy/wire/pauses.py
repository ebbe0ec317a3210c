# SPDX-License-Identifier: Apache-2.0
"""A pause that really lets others run.

The one idea: after milliseconds of work the heartbeats of hundreds of agents stand in queues that a
single turn of the event loop does not empty: it reads, the next one answers, and more came.  A
pause therefore goes on while streams have something to say, and ends when they have been quiet for
some turns: long under many agents, nearly free under few.
"""

import asyncio
from typing import Final

QUIET_TURNS: Final = 8
MOST_TURNS: Final = 400


class _Streams:
    """Counts what happens on all streams of the process."""

    def __init__(self) -> None:
        self.events = 0


_streams: Final = _Streams()


def stream_event() -> None:
    """Note that a stream has given or taken a message; called by whoever reads or writes one."""
    _streams.events += 1


async def let_others_run(quiet_turns: int = QUIET_TURNS) -> None:
    """Give up the loop until no stream has had an event for some turns, at most 400."""
    quiet = 0
    for _ in range(MOST_TURNS):
        events = _streams.events
        await asyncio.sleep(0)
        quiet = quiet + 1 if events == _streams.events else 0
        if quiet >= quiet_turns:
            return
