# SPDX-License-Identifier: Apache-2.0
"""banyandb.fodc.v1.FODCService: the seven streams of existing agents, all of them served.

The one idea: a registration makes a connection, six data streams attach to it by the id in their
metadata. Rules and texts: upstream-proxy §5. A stream of an unknown id stays open and its messages
are dropped, because an ended stream makes a Go agent register anew a hundred times a second.

A registration that was superseded stays open as long as its successor lives: an agent whose stream
ends comes back, and two misconfigured agents of one name would chase each other for ever. That it
still sends heartbeats is the proof that both live, which the successor's condition says. Once the
successor is gone the stream ends with the existing proxy's text for a removed agent.
"""

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fodc_protocol.errors import FodcError, Reason
from fodc_protocol.grpc_status import Status
from fodc_protocol.link import frames
from fodc_proxy.access.agents.gate import Gate
from fodc_proxy.access.agents.refusals import Asked
from fodc_proxy.access.agents.rules import Fault, Refused, Who, stranger
from fodc_proxy.fleet.errors import RegistrationError, UnknownAgentError
from fodc_proxy.fleet.membership import Change, Contract, Member, Registration, Transition
from fodc_proxy.fleet.registry import Registry
from fodc_proxy.queries import plan
from fodc_proxy.queries.collect import Rounds
from fodc_proxy.queries.lanes import FODC_METRICS_LANE
from fodc_proxy.telemetry import Telemetry
from fodc_proxy.wire.bounds import WireError
from fodc_proxy.wire.credentials import shown_by, status_of
from fodc_proxy.wire.existing import codec
from fodc_proxy.wire.existing.evidence_streams import STREAMS, EvidenceStreams
from fodc_proxy.wire.existing.lines import MetricsDecoder
from fodc_proxy.wire.outbox import Outbox, Writers
from fodc_proxy.wire.pauses import let_others_run
from fodc_proxy.wire.streams import (
    FIRST_MESSAGE_BYTES,
    LARGE_BYTES,
    Context,
    Ramp,
    Turns,
    read,
    read_first,
)

NO_AGENT_ID: Final = "agent ID not found in context or peer address"
# What each stream is called in the errors of §5.4.
STREAM_NAMES: Final = {
    "StreamMetrics": "metrics stream",
    "StreamClusterTopology": "cluster state stream",
    "StreamLifecycle": "lifecycle stream",
    "StreamCrashDiagnostics": "crash diagnostics stream",
    "StreamPressureProfiles": "pressure profiles stream",
    "StreamSchemaRegistry": "schema registry stream",
}
_log = logging.getLogger(__name__)


class CommandError(FodcError):
    """A command that could not be sent; the texts are the existing proxy's (§5.4)."""

    default_reason = Reason.AGENT_GONE


class _NotAdmittedError(RegistrationError):
    """A registration that did not pass the gate."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.message, reason=refused.reason)
        self.fault = refused.fault


@dataclass(slots=True)
class DroppedMessages:
    """Counts what came without a use."""

    unknown_agent: int = 0
    garbage: int = 0


class _Connection:
    """One registered agent and the streams that it has open, by method."""

    __slots__ = ("member", "streams")

    def __init__(self, member: Member) -> None:
        self.member = member
        self.streams: dict[str, Outbox] = {}


class _Beats:
    """Heartbeats of one agent: most repeat its registration word by word, and those wake nobody."""

    __slots__ = ("_agent_id", "_last", "_registry")

    def __init__(self, registry: Registry, agent_id: str, first: bytes) -> None:
        self._registry = registry
        self._agent_id = agent_id
        self._last = first

    def take(self, data: bytes) -> bool:
        """Note a heartbeat like the last one; False for one that has to be read."""
        if data != self._last:
            return False
        try:
            self._registry.heartbeat(self._agent_id)
        except UnknownAgentError:
            return False  # the reader finds the same and ends the stream
        return True

    def heard(self, data: bytes) -> None:
        """Note any heartbeat; raises WireError and UnknownAgentError."""
        if data == self._last:
            self._registry.heartbeat(self._agent_id)
            return
        beat = codec.decode_register_request(data)
        self._registry.refresh(self._agent_id, beat.node_role, beat.labels)
        self._last = data


class FodcService:
    """All agents of the existing contract; also the AskPort of that contract."""

    def __init__(
        self,
        registry: Registry,
        rounds: Rounds,
        *,
        heartbeat_interval_s: float,
        writers: Writers,
        turns: Turns,
        ramp: Ramp,
        telemetry: Telemetry,
        gate: Gate,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.dropped = DroppedMessages()
        self._registry = registry
        self._gate = gate
        self._rounds = rounds
        self.evidence = EvidenceStreams(rounds, turns)
        self._heartbeat_interval_s = int(heartbeat_interval_s)
        self._writers = writers
        self._turns = turns
        self._ramp = ramp
        self._telemetry = telemetry
        self._clock_ms = clock_ms
        self._decoder = MetricsDecoder()
        self._connections: dict[str, _Connection] = {}
        registry.subscribe(self._changed)

    @property
    def count(self) -> int:
        """Count of registered agents with a stream."""
        return len(self._connections)

    def has_stream(self, agent_id: str, method: str) -> bool:
        """Say whether this agent has this stream open (G16)."""
        connection = self._connections.get(agent_id)
        return connection is not None and method in connection.streams

    # ---- commands -------------------------------------------------------------------------------

    def ask(self, agent_id: str, ask_id: int, want: plan.Want) -> str:  # noqa: ARG002 - not on this wire
        """Queue a metrics command; return "" or why it cannot be sent. `ask_id` stays here."""
        method = "StreamMetrics"
        match want:
            case plan.Latest():
                data = codec.encode_metrics_command()
            case plan.Window():
                data = codec.encode_metrics_command(want.start_ms, want.end_ms)
            case plan.Settings():
                return "the existing contract has no query for the configuration"
            case plan.Evidence():
                stream = STREAMS[want.kind]
                method, data = stream.method, stream.command()
        try:
            self.command(agent_id, method, data)
        except CommandError as error:
            return error.message
        return ""

    def command(self, agent_id: str, method: str, data: bytes) -> None:
        """Queue a command on a data stream; raises CommandError (G12)."""
        connection = self._connections.get(agent_id)
        if connection is None:
            raise CommandError(f"agent connection not found for agent ID: {agent_id}")
        outbox = connection.streams.get(method)
        name = STREAM_NAMES[method]
        if outbox is None:
            raise CommandError(f"{name} not established for agent ID: {agent_id}")
        if not outbox.offer(data):
            what = name.removesuffix(" stream")
            raise CommandError(f"failed to send {what} request: the stream takes nothing more")

    def _changed(self, transition: Transition) -> None:
        agent_id = transition.member.agent_id
        if transition.change in {Change.SUPERSEDED, Change.REMOVED}:
            self._connections.pop(agent_id, None)
            self._rounds.gone(agent_id)

    # ---- registration ---------------------------------------------------------------------------

    async def register_agent(self, _requests: object, context: Context) -> None:
        """Serve one registration stream: register, then heartbeats without a reply (§5.2)."""
        first = await read_first(context)
        if first is None:
            return
        who = await self._gate.identify(shown_by(context))
        try:
            request = codec.decode_register_request(first)
            member = self._register(request, who, context.peer.host)
        except RegistrationError as error:
            reply = codec.encode_register_reply(success=False, message=error.message)
            await context.write(reply)
            status = status_of(error.fault) if isinstance(error, _NotAdmittedError) else None
            await context.abort(status or Status.UNKNOWN, error.message)
        except WireError as error:
            self._telemetry.peer_refused(error.bound)
            await context.abort(Status.INVALID_ARGUMENT, error.message)
        self._ramp.registered()
        try:
            if await self._confirm(member, context):
                beats = _Beats(self._registry, member.agent_id, first)
                await self._heartbeats(beats, member, context)
        finally:
            self._registration_ended(member.agent_id)

    def _register(self, request: codec.RegisterRequest, who: Who | Refused, peer: str) -> Member:
        claim = frames.Identity(request.pod_name, container_names=request.container_names)
        admitted = self._gate.admit(who, claim, Contract.FODC, peer)
        if isinstance(admitted, Refused):
            raise _NotAdmittedError(admitted)
        state = frames.NodeState(request.node_role, request.labels)
        registration = Registration(
            admitted.identity, state, Contract.FODC, authority=admitted.authority
        )
        try:
            member = self._registry.register(registration).member
        except RegistrationError as error:
            if error.reason is not Reason.UNAUTHENTICATED:
                raise
            claimed = self._gate.claimed(error.message, Asked(who, peer, request.pod_name))
            raise _NotAdmittedError(claimed) from error
        self._connections[member.agent_id] = _Connection(member)
        return member

    async def _confirm(self, member: Member, context: Context) -> bool:
        """Send the reply; an agent that cannot get it is no member (G03)."""
        reply = codec.encode_register_reply(
            success=True,
            message="Agent registered successfully",
            heartbeat_interval_s=self._heartbeat_interval_s,
            agent_id=member.agent_id,
        )
        sent = await Outbox(context, self._writers).write(reply)
        if not sent and self._registry.get(member.agent_id) is not None:
            self._registry.unregister(member.agent_id)
        return sent

    async def _heartbeats(self, beats: _Beats, member: Member, context: Context) -> None:
        context.hear(beats.take)
        claims = 1
        while (data := await read(context)) is not None:
            try:
                beats.heard(data)
            except UnknownAgentError as error:
                successor = self._registry.successor_of(member)
                if successor is None:
                    await context.abort(Status.UNKNOWN, error.message)
                self._registry.contested(successor.agent_id, claims)
                claims = 0
            except WireError as error:
                self._telemetry.peer_refused(error.bound)
                await context.abort(Status.INVALID_ARGUMENT, error.message)

    def _registration_ended(self, agent_id: str) -> None:
        connection = self._connections.pop(agent_id, None)
        if connection is not None:
            for outbox in connection.streams.values():
                outbox.close()
        self._registry.disconnected(agent_id)
        self._rounds.gone(agent_id)
        self.evidence.gone(agent_id)

    # ---- data streams ---------------------------------------------------------------------------

    async def stream_metrics(self, _requests: object, context: Context) -> None:
        """Serve one metrics stream."""
        await self._data_stream("StreamMetrics", context)

    async def stream_cluster_topology(self, _requests: object, context: Context) -> None:
        """Serve one topology stream."""
        await self._data_stream("StreamClusterTopology", context)

    async def stream_lifecycle(self, _requests: object, context: Context) -> None:
        """Serve one lifecycle stream."""
        await self._data_stream("StreamLifecycle", context)

    async def stream_crash_diagnostics(self, _requests: object, context: Context) -> None:
        """Serve one crash diagnostics stream."""
        await self._data_stream("StreamCrashDiagnostics", context)

    async def stream_pressure_profiles(self, _requests: object, context: Context) -> None:
        """Serve one pressure profiles stream."""
        await self._data_stream("StreamPressureProfiles", context)

    async def stream_schema_registry(self, _requests: object, context: Context) -> None:
        """Serve one schema registry stream."""
        await self._data_stream("StreamSchemaRegistry", context)

    async def _data_stream(self, method: str, context: Context) -> None:
        agent_id = self._identified(context)
        if agent_id is None:
            await context.abort(Status.UNAUTHENTICATED, NO_AGENT_ID)
        who = await self._gate.identify(shown_by(context))
        connection = self._connections.get(agent_id)
        not_its_own = self._not_its_own(who, connection, context.peer.host)
        if not_its_own is not None:
            await context.abort(status_of(not_its_own.fault), not_its_own.message)
        outbox = Outbox(context, self._writers)
        if connection is not None:
            connection.streams[method] = outbox
            self.evidence.opened(agent_id, method)
        try:
            most_bytes = FIRST_MESSAGE_BYTES if connection is None else 0
            while (data := await read(context, most_bytes)) is not None:
                if connection is None or self._connections.get(agent_id) is not connection:
                    self.dropped.unknown_agent += 1
                elif method == "StreamMetrics":
                    await self._metrics_arrived(connection, data)
                else:
                    await self.evidence.arrived(agent_id, method, data)
                data = b""  # the next read waits for long; let go of what was read
        finally:
            outbox.close()
            if connection is not None and connection.streams.get(method) is outbox:
                del connection.streams[method]
                self._data_stream_ended(agent_id, method)

    def _not_its_own(
        self, who: Who | Refused, connection: _Connection | None, peer: str
    ) -> Refused | None:
        """Return why a stream may not attach to a registration: another has made it."""
        if isinstance(who, Refused):
            return self._gate.refuse(who, Asked(who, peer))
        if connection is None:
            refused = stranger(who, self._gate.rules)
            return None if refused is None else self._gate.refuse(refused, Asked(who, peer))
        member = connection.member
        if who.principal == member.authority.principal:
            return None
        message = "the agent ID is of a registration with another token or certificate"
        return self._gate.refuse(
            Refused(Fault.OTHER_AGENT, message), Asked(who, peer, member.pod_name)
        )

    def _data_stream_ended(self, agent_id: str, method: str) -> None:
        if method == "StreamMetrics":
            self._rounds.gone(agent_id)
        else:
            self.evidence.ended(agent_id, method)

    def _identified(self, context: Context) -> str | None:
        """Return the agent id of a data stream; two ids are as good as an unknown one (§5.1).

        They come as one text with a comma, which no id has.
        """
        told = context.metadata.get("agent_id")
        if told is not None:
            return told
        return self._identified_by_peer(context.peer.host)

    def _identified_by_peer(self, host: str) -> str | None:
        """Return the agent whose pod name is the peer's IP, as agents of old called themselves."""
        if not host:
            return None
        for agent_id, connection in self._connections.items():
            if connection.member.pod_name == host:
                _log.warning("agent %s has no agent_id metadata, known by its IP", agent_id)
                return agent_id
        return None

    async def _metrics_arrived(self, connection: _Connection, data: bytes) -> None:
        agent_id = connection.member.agent_id
        out = self._rounds.outstanding(agent_id, FODC_METRICS_LANE)
        if out is None:
            self._rounds.unasked()
            return
        self._rounds.arrived(agent_id, FODC_METRICS_LANE)
        # Small ones take turns as well: what is rendered in steps is alone with the decoder.
        async with self._turns.turn(max(len(data), LARGE_BYTES)):
            member = self._registry.get(agent_id) or connection.member
            try:
                await self._metrics_read(member, *out, data)
            except WireError as error:
                self.dropped.garbage += 1
                self._rounds.failed(
                    agent_id, FODC_METRICS_LANE, out[0], error.reason, error.message
                )

    async def _metrics_read(
        self, member: Member, ask_id: int, want: plan.Want, data: bytes
    ) -> None:
        labels, identity = tuple(member.labels.items()), member.identity_labels
        if isinstance(want, plan.Window):
            columns = self._decoder.columns(data, labels, self._clock_ms(), identity)
            self._rounds.columns(member.agent_id, FODC_METRICS_LANE, ask_id, columns)
            return
        with contextlib.closing(self._decoder.steps(data, labels, identity)) as steps:
            for page in steps:
                if page is None:
                    await let_others_run(1)
                else:
                    self._rounds.rendered(member.agent_id, FODC_METRICS_LANE, ask_id, page)
