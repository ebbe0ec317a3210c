# SPDX-License-Identifier: Apache-2.0
"""The gRPC server: raw bytes in and out, both services on one port.

The one idea: handlers take bytes, so that each decides when and how to decode. The options are
those that were measured to matter: without room for pending requests a reconnect storm loses
registrations (perf-feasibility §2.3); without a limit of streams a peer that opens and resets them
makes the process grow by 11 KiB each, for good (70,000: 733 MiB; with the limit 2 MiB).
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

import grpc

from fodc_protocol.addresses import Address
from fodc_proxy.wire.agent_link import AgentLinkService
from fodc_proxy.wire.existing.service import FodcService
from fodc_proxy.wire.streams import Context
from fodc_proxy.wire.trimming import few_arenas

StreamHandler: TypeAlias = Callable[[object, Context], Awaitable[None]]
MOST_STREAMS: Final = 128
"""Streams of one connection."""
_FODC: Final = "/banyandb.fodc.v1.FODCService/"


def _options(max_message_bytes: int) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.server.max_pending_requests", 100_000),
        ("grpc.server.max_pending_requests_hard_limit", 200_000),
        ("grpc.so_reuseport", 0),
        # An agent has one stream or seven; a gateway in front may carry several agents.
        ("grpc.max_concurrent_streams", MOST_STREAMS),
        # A peer that vanished without a word is noticed within a minute and a half.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        # Agents may ping on their own every ten seconds.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Finds the handler of a method; unknown methods are UNIMPLEMENTED."""

    def __init__(self, methods: Mapping[str, StreamHandler]) -> None:
        self._methods = {
            name: grpc.stream_stream_rpc_method_handler(handler)
            for name, handler in methods.items()
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> object:
        """Return the handler, or None."""
        return self._methods.get(handler_call_details.method)


def methods_of(link: AgentLinkService, fodc: FodcService) -> dict[str, StreamHandler]:
    """Return every stream that this proxy serves, by full name."""
    return {
        "/fodc.v1.AgentLink/Connect": link.connect,
        _FODC + "RegisterAgent": fodc.register_agent,
        _FODC + "StreamMetrics": fodc.stream_metrics,
        _FODC + "StreamClusterTopology": fodc.stream_cluster_topology,
        _FODC + "StreamLifecycle": fodc.stream_lifecycle,
        _FODC + "StreamCrashDiagnostics": fodc.stream_crash_diagnostics,
        _FODC + "StreamPressureProfiles": fodc.stream_pressure_profiles,
        _FODC + "StreamSchemaRegistry": fodc.stream_schema_registry,
    }


class GrpcServer:
    """One gRPC listener."""

    def __init__(self, methods: Mapping[str, StreamHandler], *, max_message_bytes: int) -> None:
        few_arenas()
        self._options = _options(max_message_bytes)
        self._handlers = _Handlers(methods)
        # Made at the start: grpc frees only servers that ran, and a standby never starts.
        self._server: grpc.aio.Server | None = None
        self.address = ""

    async def start(self, host: str, port: int) -> None:
        """Listen; raises OSError when the address cannot be had (G17). Port 0 takes a free one."""
        wanted = str(Address(host or "::", port))
        server = grpc.aio.server(options=self._options)
        server.add_generic_rpc_handlers((self._handlers,))
        try:
            bound = server.add_insecure_port(wanted)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {wanted}: {error}") from error
        if bound == 0:
            raise OSError(f"cannot listen on {wanted}")
        self._server = server
        await server.start()
        shown = "127.0.0.1" if host in {"", "0.0.0.0", "::"} else host  # noqa: S104 - for callers
        self.address = f"[{shown}]:{bound}" if ":" in shown else f"{shown}:{bound}"

    async def stop(self) -> None:
        """End all streams at once and stop: they never end by themselves."""
        if self._server is not None:
            await self._server.stop(None)
