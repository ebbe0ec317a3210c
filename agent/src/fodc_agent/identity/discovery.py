# SPDX-License-Identifier: Apache-2.0
"""Asks the node who it is, soon and often until it says so, then now and then.

The one idea: nothing waits for it. What is known is in `facts`, and whoever cares is told of each
change; a node that never answers costs a question every few seconds and a reason in `problem`.
What the ports do not tell is taken from the node's command; what a person told comes first.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from fodc_agent.identity import codec
from fodc_agent.identity.roles import UNSPECIFIED, NodeFacts, best_of, told_first, updated
from fodc_agent.node_access import NodeAccess
from fodc_agent.rpc.channel import RpcChannel
from fodc_agent.rpc.dialing import Endpoint
from fodc_agent.rpc.faults import RpcError, RpcFault
from fodc_agent.settings import LOOPBACK

_log: Final = logging.getLogger(__name__)

ASK_TIMEOUT_S: Final = 5.0
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
_NO_LABELS: Final[Mapping[str, str]] = {}

_PLAIN: Final = NodeAccess(LOOPBACK)

Ask = Callable[[int], Awaitable[NodeFacts]]


async def connect_node(port: int, access: NodeAccess = _PLAIN) -> RpcChannel:
    """Return a connection to one port of the node; raise RpcError."""
    try:
        endpoint = Endpoint(access.host, port, await access.grpc_context(), access.server_name)
        metadata = await access.metadata()
    except OSError as error:  # ssl.SSLError is one as well
        raise RpcError(RpcFault.UNREACHABLE, f"{access.host}:{port}: {error}") from error

    async def credentials() -> Mapping[str, str]:
        return metadata

    return await RpcChannel.connect(endpoint, timeout_s=ASK_TIMEOUT_S, credentials=credentials)


async def ask_node(port: int, access: NodeAccess = _PLAIN) -> NodeFacts:
    """Ask one port of the node; raise RpcError or MalformedNodeError."""
    channel = await connect_node(port, access)
    try:
        answer = await channel.unary(codec.GET_CURRENT_NODE, codec.REQUEST, timeout_s=ASK_TIMEOUT_S)
    finally:
        channel.close()
    return codec.decode(answer)


class Discovery:
    """Role and labels of the node behind `ports`; run `run` as one task."""

    def __init__(
        self,
        ports: Sequence[int],
        *,
        interval_s: float,
        fallback: Callable[[], Awaitable[NodeFacts | None]],
        on_change: Callable[[NodeFacts], None],
        ask: Ask = ask_node,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        role: str = UNSPECIFIED,
        labels: Mapping[str, str] = _NO_LABELS,
    ) -> None:
        """Take role and labels that were told, if any; other labels are found out all the same."""
        self._told = NodeFacts(role, labels)
        self.facts = self._told
        self.problem = ""
        self._ports = tuple(ports)
        self._interval_s = interval_s
        self._fallback = fallback
        self._on_change = on_change
        self._ask = ask
        self._sleep = sleep
        self._answer: NodeFacts | None = None
        self._heard = False
        self._known = asyncio.Event()
        if role != UNSPECIFIED:
            self._known.set()

    async def run(self) -> None:
        """Ask for ever: with growing pauses until all is known, then every interval."""
        pause_s = _FIRST_PAUSE_S
        while True:
            await self.refresh()
            if self._heard and self.facts.role != UNSPECIFIED:
                await self._sleep(self._interval_s)
                continue
            await self._sleep(min(pause_s, self._interval_s))
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def refresh(self) -> NodeFacts:
        """Ask once and return what is known then."""
        news = await self._asked()
        if news is not None:
            self._answer = news
        if news is None or news.role == UNSPECIFIED:
            news = await self._from_command(news)
        if news is not None:
            self._heard = True
            self._learn(updated(self.facts, told_first(self._told, news)))
        return self.facts

    async def known(self, timeout_s: float) -> NodeFacts:
        """Wait for a role, but not longer than that (T-CL-15)."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._known.wait()
        except TimeoutError:
            pass  # Unspecified is an answer too.
        return self.facts

    async def _asked(self) -> NodeFacts | None:
        """Ask all ports at the same time; the first port with a role wins."""
        answers = await asyncio.gather(*map(self._ask, self._ports), return_exceptions=True)
        faults = [answer for answer in answers if isinstance(answer, BaseException)]
        for fault in faults:
            if not isinstance(fault, RpcError | codec.MalformedNodeError):
                raise fault
        self.problem = "; ".join(map(str, faults))
        return best_of(answer for answer in answers if isinstance(answer, NodeFacts))

    async def _from_command(self, news: NodeFacts | None) -> NodeFacts | None:
        """Take role and labels from the node's command where its ports never told them."""
        told = await self._fallback()
        if told is None:
            return news
        known = news or self._answer or NodeFacts()
        # An answer that named the role named all labels, so none is none.
        labels = known.labels if known.role != UNSPECIFIED else known.labels or told.labels
        return NodeFacts(told.role, labels, known.name)

    def _learn(self, facts: NodeFacts) -> None:
        if facts == self.facts:
            return
        _log.info("node_role role=%s name=%s labels=%s", facts.role, facts.name, dict(facts.labels))
        self.facts = facts
        if facts.role != UNSPECIFIED:
            self._known.set()
        self._on_change(facts)
