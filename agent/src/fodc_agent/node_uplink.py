# SPDX-License-Identifier: Apache-2.0
"""Builds the line of a node to its proxy from settings."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fodc_agent.clocks import SteadyClock
from fodc_agent.evidence.telling import Evidence
from fodc_agent.lanes import Lane
from fodc_agent.rpc.channel import RpcChannel
from fodc_agent.rpc.dialing import Endpoint
from fodc_agent.rpc.faults import RpcError, RpcFault
from fodc_agent.settings import Settings
from fodc_agent.tls_files import TlsFiles, tls_context
from fodc_agent.uplink.agent_link import AgentLink
from fodc_agent.uplink.answers import Answers
from fodc_agent.uplink.caller import PING_S, Caller, Contract, LinePhase
from fodc_agent.uplink.pace import Pace
from fodc_agent.uplink.transfers import CaptureJobs
from fodc_protocol.lean import dataclass
from fodc_protocol.link import frames
from fodc_protocol.link.agent_side import AgentSession
from fodc_protocol.link.event_queue import EventQueue
from fodc_protocol.version import VERSION

if TYPE_CHECKING:
    from fodc_agent.occurrences.pressure_profiles import PressureProfiles
    from fodc_agent.recorder.recorder import Recorder
    from fodc_agent.uplink.existing.seven_streams import SevenStreams

_log: Final = logging.getLogger(__name__)

_GOODBYE_S: Final = 0.8
_ALPN: Final = ["h2"]
_MOST_TOKEN_BYTES: Final = 32 * 1024


@dataclass(slots=True)
class Uplink:
    """The line to the proxy and the link that runs on it."""

    caller: Caller
    link: AgentLink
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the line has been left for good."""

    async def said_goodbye(self) -> None:
        """Wait until the proxy knows, but not for long."""
        try:
            async with asyncio.timeout(_GOODBYE_S):
                await self.gone.wait()
        except TimeoutError:
            _log.warning("proxy_heard_no_goodbye")
        await self.link.transfers.close()


def build_uplink(
    settings: Settings,
    *,
    identity: frames.Identity,
    incarnation: str,
    state: Callable[[], frames.NodeState],
    answers: Answers,
    evidence: Evidence,
    pressures: "PressureProfiles",
    recorder: "Recorder",
    jobs: CaptureJobs,
    events: EventQueue,
    on_taken: Callable[[], None] = lambda: None,
    held: Iterable[frames.CommandUpdate],
) -> Uplink:
    """Return the uplink, ready to run."""
    clock = SteadyClock()
    pace = Pace(base_s=settings.reconnect_interval_s)
    session = AgentSession(
        identity=identity,
        state=state(),
        agent_version=VERSION,
        incarnation=incarnation,
        heartbeat_interval_ms=round(settings.heartbeat_interval_s * 1000),
        held=held,
        events=events,
    )

    def existing() -> "SevenStreams":
        # Imported here, because agents of our own proxy never need it.
        from fodc_agent.uplink.existing.metrics import MetricsAnswers  # noqa: PLC0415 - see above
        from fodc_agent.uplink.existing.seven_streams import SevenStreams  # noqa: PLC0415 - as well

        return SevenStreams(
            identity,
            state,
            MetricsAnswers(recorder, clock),
            evidence,
            pressures,
            interval_s=settings.heartbeat_interval_s,
            now_ms=clock,
            on_registered=lambda agent_id: caller.connected(LinePhase.REGISTERED, agent_id),
            pace=pace,
        )

    linked = _linked_by(lambda: caller)
    link = AgentLink(session, answers, jobs, now_ms=clock, on_linked=linked, on_taken=on_taken)
    caller = Caller(
        endpoints=tuple(Endpoint(host, port) for host, port in settings.proxy_endpoints),
        contract=Contract(settings.contract),
        link=link,
        make_existing=existing,
        dial=dial_with(settings.proxy_tls, settings.proxy_token_file),
        cut_hint=cut_hint(settings.proxy_tls),
        pace=pace,
    )
    return Uplink(caller, link)


def _linked_by(caller: Callable[[], Caller]) -> Callable[[frames.Welcome], None]:
    """Return what is done at a welcome; the caller is made after the link that it calls with."""

    def linked(welcome: frames.Welcome) -> None:
        told = (welcome.proxy_version, welcome.proxy_incarnation)
        _log.info("proxy_is version=%r incarnation=%r", *told)
        caller().connected(LinePhase.LINKED, welcome.agent_id)

    return linked


def dial_with(
    tls: TlsFiles | None, token_file: Path | None = None
) -> Callable[[Endpoint], Awaitable[RpcChannel]]:
    """Return how to connect; certificates are read anew each time, the token for each call.

    So rotated ones are taken. Without TLS no token is sent: anybody on the way could read it.
    """
    files = Lane("credentials")

    async def bearer() -> Mapping[str, str]:
        if token_file is None:
            return {}
        return {"authorization": f"Bearer {await _token(token_file, files)}"}

    async def dial(endpoint: Endpoint) -> RpcChannel:
        if tls is None:
            return await RpcChannel.connect(endpoint, ping_s=PING_S)
        try:
            context = await files.run(partial(tls_context, tls))
        except OSError as error:  # ssl.SSLError is one as well
            message = (
                f"TLS files of --proxy-tls-*: {error.strerror or error} {error.filename or ''}"
            )
            raise RpcError(RpcFault.UNREACHABLE, message.strip()) from error
        context.set_alpn_protocols(_ALPN)
        name = tls.server_name or None
        secured = replace(endpoint, tls=context, server_name=name)
        try:
            return await RpcChannel.connect(secured, ping_s=PING_S, credentials=bearer)
        except RpcError as error:
            if error.fault is not RpcFault.NOT_TRUSTED:
                raise
            raise RpcError(error.fault, f"{error}; {_advice(str(error))}") from error

    return dial


def _read_token(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MOST_TOKEN_BYTES + 1).strip()


async def _token(path: Path, files: Lane) -> str:
    """Return the token of a file; raises RpcError, whose text never holds any of it."""
    try:
        data = await files.run(partial(_read_token, path))
    except OSError as error:
        problem = f"{error.strerror or error}"
    else:
        if 0 < len(data) <= _MOST_TOKEN_BYTES and all(0x21 <= byte < 0x7F for byte in data):
            return data.decode("ascii")
        problem = "the file holds no single token"
    raise RpcError(RpcFault.UNREACHABLE, f"--proxy-token-file {path}: {problem}")


def token_warning(settings: Settings) -> str:
    """Return why the token that was given is not sent, empty when it is or none was given."""
    if settings.proxy_token_file is None or settings.proxy_tls is not None:
        return ""
    return "--proxy-token-file is sent with TLS only: give --proxy-tls or --proxy-tls-ca"


def _advice(message: str) -> str:
    """Say what a person can do about a handshake that failed."""
    if "mismatch" in message:
        return "name the proxy as its certificate does, with --proxy-tls-server-name"
    if "WRONG_VERSION_NUMBER" in message:
        return "the proxy seems to be without TLS: leave --proxy-tls and --proxy-tls-* out"
    return "give the CA of the proxy's certificate with --proxy-tls-ca"


def cut_hint(tls: TlsFiles | None) -> str:
    """Return what a line that is cut before it is accepted may mean, empty for nothing special.

    With TLS 1.3 a proxy that wants a certificate says so after the handshake, by cutting the line.
    """
    if tls is None or tls.cert_file:
        return ""
    return "if the proxy wants a certificate of the agent, give --proxy-tls-cert and -key"
