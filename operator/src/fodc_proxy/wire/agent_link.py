# SPDX-License-Identifier: Apache-2.0
"""fodc.v1.AgentLink: one stream per agent of ours.

The one idea: the coroutine that reads a stream is all there is of an agent at rest, and a heartbeat
does not wake it: it is answered where its bytes come in. Only one that cannot be answered at once,
or ends the stream, is read like everything else.
"""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, assert_never

from fodc_protocol.errors import Reason
from fodc_protocol.grpc_status import Status
from fodc_protocol.link import frames
from fodc_protocol.link.proxy_side import agreed_protocol
from fodc_proxy.access.agents.gate import Gate
from fodc_proxy.access.agents.refusals import Asked
from fodc_proxy.access.agents.rules import Refused, Who
from fodc_proxy.fleet.errors import RegistrationError, UnknownAgentError
from fodc_proxy.fleet.membership import Change, Contract, Member, Registration, Transition
from fodc_proxy.fleet.registry import Registry
from fodc_proxy.queries import plan
from fodc_proxy.queries.collect import Rounds
from fodc_proxy.telemetry import Telemetry
from fodc_proxy.wire.bounds import Bound, WireError
from fodc_proxy.wire.codec import decode_agent_frame, encode_proxy_frame, largest_frame
from fodc_proxy.wire.credentials import shown_by
from fodc_proxy.wire.link_evidence import LinkEvidence
from fodc_proxy.wire.occurrences import Occurrences
from fodc_proxy.wire.outbox import Outbox, Writers
from fodc_proxy.wire.pauses import let_others_run
from fodc_proxy.wire.ports import LinkListener
from fodc_proxy.wire.streams import LARGE_BYTES, Context, Ramp, Turns, read, read_first

_RETRY_AFTER_REFUSAL_MS: Final = 5_000
_RETRY_AFTER_BAD_HELLO_MS: Final = 60_000
_log = logging.getLogger(__name__)
_HEARTBEAT: Final = 2  # the number of the frame
# Which answers come in large frames, by the number of the frame.
_LANES: Final = {3: plan.Latest.__name__, 4: plan.Window.__name__}


@dataclass(frozen=True, slots=True)
class Greeting:
    """What every Welcome says."""

    heartbeat_interval_ms: int
    proxy_version: str
    proxy_incarnation: str
    chunk_bytes: int = 256 * 1024


class _Link:
    """One linked agent."""

    __slots__ = ("address", "agent_id", "outbox", "parting", "reader")

    def __init__(self, member: Member, outbox: Outbox) -> None:
        self.agent_id = member.agent_id
        self.address = member.address
        self.outbox = outbox
        self.reader: asyncio.Task[object] | None = None
        self.parting: frames.Refusal | None = None

    def part(self, refusal: frames.Refusal) -> None:
        """End this stream from outside, telling why."""
        if self.parting is None:
            self.parting = refusal
            if self.reader is not None:
                self.reader.cancel()

    def acknowledge(self, ack: frames.EventAck) -> bool:
        """Queue the acknowledgement of an occurrence; False when it is dropped."""
        return self.outbox.offer(encode_proxy_frame(ack))

    async def read(self, context: Context) -> bytes | None:
        """Return the next message, None at the end or when the stream is to part.

        Reading alone is cancelled: after a write that was cancelled in its midst gRPC takes
        neither a refusal nor a status any more, and the peer would wait for ever.
        """
        if self.is_parting():
            return None
        self.reader = reader = asyncio.current_task()
        try:
            return await read(context)
        except asyncio.CancelledError:
            if reader is None or not self.is_parting():
                raise
            reader.uncancel()
            return None
        finally:
            self.reader = None

    def is_parting(self) -> bool:
        """Whether the stream is to end, with something to tell."""
        return self.parting is not None


class AgentLinkService:
    """All links; also the AskPort of our contract."""

    def __init__(
        self,
        registry: Registry,
        rounds: Rounds,
        listener: LinkListener,
        greeting: Greeting,
        *,
        writers: Writers,
        turns: Turns,
        ramp: Ramp,
        telemetry: Telemetry,
        gate: Gate,
    ) -> None:
        self._registry = registry
        self._gate = gate
        self._rounds = rounds
        self.evidence = LinkEvidence(rounds)
        self.occurrences = Occurrences(registry.get)
        self._listener = listener
        self._greeting = greeting
        self._writers = writers
        self._turns = turns
        self._ramp = ramp
        self._telemetry = telemetry
        self._links: dict[str, _Link] = {}
        self._newest: dict[str, _Link] = {}
        registry.subscribe(self._changed)

    @property
    def count(self) -> int:
        """Count of links."""
        return len(self._links)

    # ---- ports ----------------------------------------------------------------------------------

    def send(self, address: str, frame: frames.ProxyFrame) -> bool:
        """Queue a frame for the newest link of this pod; False without one or when it is full."""
        link = self._newest.get(address)
        return link is not None and link.outbox.offer(encode_proxy_frame(frame))

    def is_linked(self, address: str) -> bool:
        """Say whether this pod has a link."""
        return address in self._newest

    def ask(self, agent_id: str, ask_id: int, want: plan.Want) -> str:
        """Queue a query; return "" or why it cannot be sent."""
        link = self._links.get(agent_id)
        if link is None:
            return f"agent connection not found for agent ID: {agent_id}"
        if link.outbox.offer(encode_proxy_frame(_query(ask_id, want))):
            return ""
        return f"failed to send query: the stream of agent {agent_id} takes nothing more"

    def ask_crashes(self, agent_id: str) -> str:
        """Queue a question for crashes; return "" or why it cannot be sent."""
        link = self._links.get(agent_id)
        if link is None:
            return f"agent connection not found for agent ID: {agent_id}"
        query = frames.CrashesQuery(self.evidence.crashes_asked(agent_id))
        if link.outbox.offer(encode_proxy_frame(query)):
            return ""
        return f"failed to send query: the stream of agent {agent_id} takes nothing more"

    def _changed(self, transition: Transition) -> None:
        """End the stream of a member that is no member any more."""
        if transition.change not in {Change.SUPERSEDED, Change.REMOVED}:
            return
        link = self._links.get(transition.member.agent_id)
        if link is None:
            return
        if transition.change is Change.SUPERSEDED:
            retry_ms = self._registry.limits.heartbeat_timeout_ms
            message = f"a newer registration of pod {link.address} took over"
            link.part(frames.Refusal(Reason.SUPERSEDED, message, retry_ms))
        else:
            link.part(frames.Refusal(Reason.OFFLINE, "silent for too long: register again"))

    # ---- the stream -----------------------------------------------------------------------------

    async def connect(self, _requests: object, context: Context) -> None:
        """Serve one agent until its stream ends."""
        first = await read_first(context)
        if first is None:
            return
        outbox = Outbox(context, self._writers)
        try:
            hello = _hello_of(first)
        except WireError as error:
            first = b""
            await self._refuse(error, outbox, context)
            return
        first = b""  # the stream lives for long; let go of what was read
        who = await self._gate.identify(shown_by(context))
        greeted = self._admit(hello, who, context.peer.host)
        if isinstance(greeted, frames.Refusal):
            await outbox.write(encode_proxy_frame(greeted))
            return
        await self._serve(hello, greeted, outbox, context)

    async def _refuse(self, error: WireError, outbox: Outbox, context: Context) -> None:
        """Tell a peer that broke a bound which one, and count it."""
        self._telemetry.peer_refused(error.bound)
        if error.bound in {Bound.GARBAGE, Bound.PROTOCOL}:
            await context.abort(Status.INVALID_ARGUMENT, error.message)
        refusal = frames.Refusal(Reason.BAD_REQUEST, error.message, _RETRY_AFTER_BAD_HELLO_MS)
        await outbox.write(encode_proxy_frame(refusal))

    def _admit(self, hello: frames.Hello, who: Who | Refused, peer: str) -> Member | frames.Refusal:
        agreed = agreed_protocol(hello)
        if isinstance(agreed, frames.Refusal):
            return agreed
        admitted = self._gate.admit(who, hello.identity, Contract.LINK, peer)
        if isinstance(admitted, Refused):
            return frames.Refusal(admitted.reason, admitted.message, admitted.retry_ms)
        registration = Registration(
            admitted.identity,
            hello.state,
            Contract.LINK,
            hello.agent_version,
            hello.incarnation,
            admitted.authority,
        )
        try:
            return self._registry.register(registration).member
        except RegistrationError as error:
            return self._not_registered(error, Asked(who, peer, hello.identity.pod_name))

    def _not_registered(self, error: RegistrationError, asked: Asked) -> frames.Refusal:
        retry_ms = _RETRY_AFTER_REFUSAL_MS
        if error.reason is Reason.SUPERSEDED:
            retry_ms = self._registry.limits.heartbeat_timeout_ms
        if error.reason is Reason.UNAUTHENTICATED:
            retry_ms = self._gate.claimed(error.message, asked).retry_ms
        return frames.Refusal(error.reason, error.message, retry_ms)

    async def _serve(
        self, hello: frames.Hello, member: Member, outbox: Outbox, context: Context
    ) -> None:
        link = _Link(member, outbox)
        self._links[member.agent_id] = link
        self._ramp.registered()
        is_up = False
        try:
            welcomed = await outbox.write(encode_proxy_frame(self._welcome(hello, member)))
            if welcomed and link.parting is None:
                self._newest[link.address] = link
                self.evidence.linked(member.agent_id)
                self.occurrences.linked(member, link)
                is_up = True
                self._listener.linked(link.address, hello)
                await self._read_on(link, context)
            if link.parting is not None:
                await self._say_goodbye(link.parting, link.outbox, context)
        except WireError as error:
            self._telemetry.peer_refused(error.bound)
            await context.abort(Status.INVALID_ARGUMENT, error.message)
        finally:
            self._close(link, was_up=is_up)

    def _welcome(self, hello: frames.Hello, member: Member) -> frames.Welcome:
        greeting = self._greeting
        return frames.Welcome(
            min(hello.protocol_max, frames.PROTOCOL_MAX),
            member.agent_id,
            greeting.heartbeat_interval_ms,
            greeting.proxy_version,
            greeting.proxy_incarnation,
            greeting.chunk_bytes,
        )

    async def _say_goodbye(self, parting: frames.Refusal, outbox: Outbox, context: Context) -> None:
        """Tell why the stream ends."""
        await outbox.write(encode_proxy_frame(parting))
        await context.abort(Status.ABORTED, parting.message)

    def _close(self, link: _Link, *, was_up: bool) -> None:
        link.outbox.close()
        self._links.pop(link.agent_id, None)
        self._registry.disconnected(link.agent_id)
        self._rounds.gone(link.agent_id)
        self.evidence.gone(link.agent_id)
        self.occurrences.gone(link.agent_id)
        if self._newest.get(link.address) is link:
            del self._newest[link.address]
            if was_up:
                self._listener.unlinked(link.address)

    def _take(self, link: _Link, data: bytes) -> bool:
        """Answer a heartbeat at once; False for all else, and for one that needs the reader."""
        if len(data) >= LARGE_BYTES or largest_frame(data) != _HEARTBEAT or link.is_parting():
            return False
        try:
            beat = decode_agent_frame(data)
            if not isinstance(beat, frames.Heartbeat) or not self._beat(link, beat):
                return False
        except WireError:
            return False  # the reader finds the same and says so
        return link.outbox.write_now(encode_proxy_frame(frames.HeartbeatAck(beat.sequence)))

    async def _read_on(self, link: _Link, context: Context) -> None:
        context.hear(partial(self._take, link))
        while (data := await link.read(context)) is not None:
            lane = _LANES.get(largest_frame(data) or 0)
            if lane is not None:
                self._rounds.arrived(link.agent_id, lane)
            size_bytes = len(data)
            async with self._turns.turn(size_bytes):
                frame = decode_agent_frame(data)
                data = b""  # the next read waits for long; let go of what was read
                if isinstance(frame, frames.Heartbeat):
                    if not self._beat(link, frame):
                        break
                elif frame is not None:
                    for _ in self._heard(link, frame, size_bytes):
                        await let_others_run(1)
            if isinstance(frame, frames.Heartbeat) and not await self._acknowledge(link, frame):
                break
            frame = None

    async def _acknowledge(self, link: _Link, beat: frames.Heartbeat) -> bool:
        """Answer a heartbeat; False for a peer that takes nothing any more, whose stream ends."""
        return await link.outbox.write(encode_proxy_frame(frames.HeartbeatAck(beat.sequence)))

    def _beat(self, link: _Link, beat: frames.Heartbeat) -> bool:
        try:
            self._registry.heartbeat(link.agent_id, beat.state)
        except UnknownAgentError:
            return False
        return True

    def _heard(self, link: _Link, frame: frames.AgentFrame, size_bytes: int) -> Iterator[None]:
        """Take a frame; yields where others may run."""
        match frame:
            case (
                frames.MetricsPage()
                | frames.WindowPart()
                | frames.Configuration()
                | frames.QueryFailed()
            ):
                if isinstance(frame, frames.QueryFailed):
                    self.evidence.failed(link.agent_id, frame.query_id)
                yield from self._rounds.heard(link.agent_id, frame, size_bytes)
            case frames.Evidence():
                self.evidence.heard(link.agent_id, frame)
            case frames.CommandUpdate() | frames.ArtifactChunk():
                self._listener.heard(link.address, frame)
            case frames.Event():
                self.occurrences.heard(link.agent_id, frame)
            case frames.Hello():
                raise WireError("a second Hello on one stream", Bound.PROTOCOL)
            case frames.Heartbeat():
                raise AssertionError("heartbeats are answered before")
            case _:
                assert_never(frame)


def _hello_of(data: bytes) -> frames.Hello:
    frame = decode_agent_frame(data)
    if not isinstance(frame, frames.Hello):
        raise WireError(
            f"the first frame must be Hello, got {type(frame).__name__}", Bound.PROTOCOL
        )
    return frame


def _query(ask_id: int, want: plan.Want) -> frames.ProxyFrame:
    match want:
        case plan.Latest():
            return frames.MetricsQuery(ask_id)
        case plan.Window():
            return frames.WindowQuery(ask_id, want.start_ms, want.end_ms)
        case plan.Settings():
            return frames.ConfigurationQuery(ask_id)
        case plan.Evidence():
            return _evidence_query(ask_id, want.kind)


def _evidence_query(ask_id: int, kind: plan.Kind) -> frames.ProxyFrame:
    match kind:
        case plan.Kind.TOPOLOGY:
            return frames.TopologyQuery(ask_id)
        case plan.Kind.LIFECYCLE:
            return frames.LifecycleQuery(ask_id)
        case plan.Kind.REGISTRY:
            return frames.RegistryQuery(ask_id)
