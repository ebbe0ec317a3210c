# SPDX-License-Identifier: Apache-2.0
"""A gRPC peer: one connection and its bidirectional calls of bytes.

The one idea: messages are bytes here, so a codec decides what they mean and no stub is needed;
every failure of the transport leaves as RpcError.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

from fodc_agent.rpc.answer import Answer, Limit, usual
from fodc_agent.rpc.call import ByteStream
from fodc_agent.rpc.dialing import Endpoint, dial
from fodc_agent.rpc.faults import RpcError, RpcFault
from fodc_agent.rpc.line import Line
from fodc_agent.rpc.requests import UnsayableError, head_of

CONNECT_TIMEOUT_S: Final = 10.0
_NOTHING: Final[Mapping[str, str]] = {}
Credentials = Callable[[], Awaitable[Mapping[str, str]]]
"""Returns what goes with the next call, such as `authorization`, as it is now."""


class RpcChannel:
    """One connection; open it with `connect`, close it with `close`."""

    def __init__(
        self, endpoint: Endpoint, line: Line, credentials: Credentials | None = None
    ) -> None:
        """Take what gives the credentials of each call."""
        self.endpoint = endpoint
        self._line = line
        self._credentials = credentials

    @classmethod
    async def connect(
        cls,
        endpoint: Endpoint,
        *,
        timeout_s: float = CONNECT_TIMEOUT_S,
        ping_s: float | None = None,
        credentials: Credentials | None = None,
    ) -> "RpcChannel":
        """Dial within the deadline; raise RpcError when nobody answers.

        `ping_s` sends an HTTP/2 ping that often. Go servers punish more than one in five minutes,
        so the short watch over a dead line is TCP's own (keepalive probes and the limit of
        unacknowledged data), which no peer can object to.
        """
        line = await dial(endpoint, timeout_s=timeout_s, ping_s=ping_s)
        return cls(endpoint, line, credentials)

    @contextlib.asynccontextmanager
    async def open(
        self,
        method: str,
        metadata: Mapping[str, str] | None = None,
        *,
        timeout_s: float | None = None,
        limit: Limit = usual,
    ) -> AsyncIterator[ByteStream]:
        """Open a bidirectional call; leaving the block resets a call that has not ended.

        `limit` says how long a message of the peer may be; TimeoutError ends a block that takes
        longer than `timeout_s`.
        """
        own = _NOTHING if self._credentials is None else await self._credentials()
        what = f"{self.endpoint} {method}"
        try:
            block = head_of(
                method,
                str(self.endpoint),
                {**own, **(metadata or {})},
                is_tls=self.endpoint.tls is not None,
                timeout_s=timeout_s,
            )
        except UnsayableError as error:
            raise RpcError(RpcFault.REJECTED, f"{what}: {error}") from None
        call = self._line.open(block, Answer(what, limit))
        try:
            async with asyncio.timeout(timeout_s):
                yield call
        finally:
            self._line.leave(call)

    async def unary(
        self, method: str, request: bytes, *, timeout_s: float, limit: Limit = usual
    ) -> bytes:
        """Ask one question; raise RpcError, LATE when the deadline passes."""
        try:
            async with self.open(method, timeout_s=timeout_s, limit=limit) as stream:
                await stream.send(request)
                await stream.end()
                answer = await stream.receive()
        except TimeoutError:
            message = f"{self.endpoint} {method}: no answer within {timeout_s:g} s"
            raise RpcError(RpcFault.LATE, message) from None
        if answer is None:
            raise RpcError(RpcFault.REJECTED, f"{self.endpoint} {method}: OK without an answer")
        return answer

    def close(self) -> None:
        """Close the connection and every call on it; idempotent."""
        self._line.close()
