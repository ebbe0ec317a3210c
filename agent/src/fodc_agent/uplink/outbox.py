# SPDX-License-Identifier: Apache-2.0
"""What waits to be written on one connection: small urgent frames and one bulky one.

The one idea: a heartbeat never waits behind an answer. Urgent frames overtake; of the bulky ones
(parts of answers, chunks of artifacts) exactly one waits here, so that whoever produces them is
slowed down to the pace of the line and memory stays flat.
"""

import asyncio
from collections import deque
from typing import Final

from fodc_protocol.link.frames import AgentFrame

MAX_URGENT: Final = 1024


class OutboxFullError(Exception):
    """The peer has not read for so long that the connection is not worth keeping."""


class Outbox:
    """Frames of one connection; producers `post` or `offer`, one writer takes with `next`."""

    def __init__(self) -> None:
        self._urgent: deque[AgentFrame] = deque()
        self._bulky: AgentFrame | None = None
        self._wake = asyncio.Event()
        # Fair: those who offer get their turn in the order of their asking.
        self._slot = asyncio.Semaphore(1)

    def post(self, frame: AgentFrame) -> None:
        """Queue a small frame; raise OutboxFullError when 1024 wait already."""
        if len(self._urgent) >= MAX_URGENT:
            raise OutboxFullError(f"{MAX_URGENT} frames wait and the proxy reads none of them")
        self._urgent.append(frame)
        self._wake.set()

    async def offer(self, frame: AgentFrame) -> None:
        """Hand over a bulky frame; waits until the one before it has been taken."""
        await self._slot.acquire()
        self._bulky = frame
        self._wake.set()

    async def next(self) -> AgentFrame:
        """Return the next frame to write: the oldest urgent one, else the bulky one."""
        while True:
            if self._urgent:
                return self._urgent.popleft()
            if self._bulky is not None:
                frame, self._bulky = self._bulky, None
                self._slot.release()
                return frame
            self._wake.clear()
            await self._wake.wait()
