# SPDX-License-Identifier: Apache-2.0
"""Finds the peer: every address of its name within a deadline, TLS where it is wanted."""

import asyncio
import socket
from typing import TYPE_CHECKING, Final

from fodc_agent.addresses import NEXT_ADDRESS_S
from fodc_agent.rpc.faults import RpcError, RpcFault
from fodc_agent.rpc.line import Line
from fodc_protocol.lean import dataclass

if TYPE_CHECKING:
    import ssl

_UNACKED_LIMIT_MS: Final = 30_000
_PROBE_AFTER_S: Final = 20
_PROBE_EVERY_S: Final = 5
_PROBES: Final = 3


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a peer listens; `tls` is None for plaintext."""

    host: str
    port: int
    tls: "ssl.SSLContext | None" = None
    server_name: str | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


async def dial(endpoint: Endpoint, *, timeout_s: float, ping_s: float | None) -> Line:
    """Connect within the deadline; raises RpcError when nobody answers."""
    try:
        async with asyncio.timeout(timeout_s):
            transport, line = await _connected(endpoint, ping_s)
    except TimeoutError:
        message = f"{endpoint}: no connection within {timeout_s:g} s"
        raise RpcError(RpcFault.UNREACHABLE, message) from None
    except OSError as error:
        fault = RpcFault.NOT_TRUSTED if _is_tls(endpoint, error) else RpcFault.UNREACHABLE
        raise RpcError(fault, f"{endpoint}: {error.strerror or error}") from error
    _watch_line(transport.get_extra_info("socket"))
    return line


async def _connected(endpoint: Endpoint, ping_s: float | None) -> tuple[asyncio.Transport, Line]:
    """Try the next address beside one that swallows what it is sent (A19)."""
    return await asyncio.get_running_loop().create_connection(
        lambda: Line(str(endpoint), ping_s),
        endpoint.host,
        endpoint.port,
        ssl=endpoint.tls,
        server_hostname=endpoint.server_name if endpoint.tls else None,
        happy_eyeballs_delay=NEXT_ADDRESS_S,
    )


def _is_tls(endpoint: Endpoint, error: OSError) -> bool:
    if endpoint.tls is None:
        return False
    import ssl  # noqa: PLC0415 - loaded already when there is TLS, and never otherwise

    return isinstance(error, ssl.SSLError)


def _watch_line(line: socket.socket | None) -> None:
    """Let the kernel notice a peer whose machine is gone (W-53)."""
    if line is None or line.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", _PROBE_AFTER_S),
        ("TCP_KEEPINTVL", _PROBE_EVERY_S),
        ("TCP_KEEPCNT", _PROBES),
        ("TCP_USER_TIMEOUT", _UNACKED_LIMIT_MS),
    ):
        if hasattr(socket, name):
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
