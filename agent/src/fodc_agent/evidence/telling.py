# SPDX-License-Identifier: Apache-2.0
"""What this agent can tell of its node, for both contracts.

The one idea: everything is asked of the node when the proxy asks, so it is as old as the answer;
only groups, which cost the node a question to every other one, are kept for a while, and never the
schema, which is compared with what others have now (W-49). Who cannot be asked is a failure with
its reason, and never an empty answer.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fodc_agent.evidence.cluster import Seen, timestamp, topology_message
from fodc_agent.evidence.reports import newest_reports
from fodc_agent.identity import codec as node_codec
from fodc_agent.identity.discovery import ASK_TIMEOUT_S, connect_node
from fodc_agent.lanes import Lane
from fodc_agent.node_access import NodeAccess
from fodc_agent.rpc.faults import RpcError, RpcFault
from fodc_agent.settings import Settings
from fodc_agent.uplink.answers import NoAnswerError
from fodc_protocol.errors import Reason
from fodc_protocol.link import frames
from fodc_protocol.protobuf import Fields, WireError, message, messages, text

if TYPE_CHECKING:
    from fodc_agent.evidence.crashes import CrashFolder
    from fodc_agent.evidence.schema_state import SchemaState

GET_CLUSTER_STATE: Final = "/banyandb.database.v1.ClusterStateService/GetClusterState"
INSPECT_ALL: Final = "/banyandb.fodc.v1.GroupLifecycleService/InspectAll"
SCHEMA_STATE: Final = "/banyandb.database.v1.NodeSchemaStateService/StreamGroupSchemaState"
INSPECT_TIMEOUT_S: Final = 40.0
ANSWER_BYTES: Final = 4 * 1024 * 1024
"""Of the node: three hundred nodes, or some thousand groups."""


def _limit(_head: bytes) -> int:
    return ANSWER_BYTES


def crash_folder(folder: Path | None, now_ns: Callable[[], int]) -> "CrashFolder | None":
    """Return what reads the folder, None without one."""
    if folder is None:
        return None
    # Imported here: the reader of JSON is half a MiB that agents without a folder never need.
    from fodc_agent.evidence.crashes import CrashFolder  # noqa: PLC0415 - see above

    return CrashFolder(folder, now_ns=now_ns)


class Evidence:
    """Topology, lifecycle, schema and crashes of one node."""

    def __init__(
        self,
        settings: Settings,
        pod_name: str,
        access: NodeAccess,
        *,
        now_ns: Callable[[], int] = time.time_ns,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._pod_name = pod_name
        self._access = access
        self._now_ns = now_ns
        self._steady_s = steady_s
        self._files = Lane("reports")
        self._crashes = crash_folder(settings.crash_dir, now_ns)
        self._groups: tuple[float, tuple[bytes, ...]] | None = None
        self._inspecting = asyncio.Lock()

    async def told(self, query: frames.EvidenceQuery) -> Iterable[bytes]:
        """Return the messages of an answer; raises NoAnswerError."""
        match query:
            case frames.TopologyQuery():
                return (await self.topology(),)
            case frames.LifecycleQuery():
                return (await self.lifecycle(),)
            case frames.RegistryQuery():
                return [one async for one in self.registry()]
            case frames.CrashesQuery():
                return await self.crashes()

    # ---- topology -------------------------------------------------------------------------------

    async def topology(self) -> bytes:
        """Return the cluster as the node's ports tell it; raises NoAnswerError when none does."""
        ports = self._settings.cluster_state_ports
        if not ports:
            raise NoAnswerError(Reason.UNSUPPORTED, "--cluster-state-ports names no port to ask")
        seen = await asyncio.gather(*map(self._seen, ports), return_exceptions=True)
        answers = [one for one in seen if isinstance(one, Seen)]
        if not answers:
            raise NoAnswerError(Reason.NODE_UNREACHABLE, "; ".join(map(str, seen)))
        try:
            return topology_message(answers, self._pod_name, timestamp(self._now_ns()))
        except WireError as error:
            words = f"the node's answer is no cluster state: {error}"
            raise NoAnswerError(Reason.NODE_ERROR, words) from error

    async def _seen(self, port: int) -> Seen:
        channel = await connect_node(port, self._access)
        try:
            told = await channel.unary(
                node_codec.GET_CURRENT_NODE, node_codec.REQUEST, timeout_s=ASK_TIMEOUT_S
            )
            node = Fields(told).blob(1)
            try:
                state = await channel.unary(
                    GET_CLUSTER_STATE, b"", timeout_s=ASK_TIMEOUT_S, limit=_limit
                )
            except RpcError as error:
                if error.fault is not RpcFault.UNIMPLEMENTED:
                    raise
                state = b""  # a lifecycle sidecar has no cluster to tell of
        finally:
            channel.close()
        return Seen(node, state)

    # ---- lifecycle ------------------------------------------------------------------------------

    async def lifecycle(self) -> bytes:
        """Return groups and reports; raises NoAnswerError when there is neither to be had."""
        port, folder = self._settings.lifecycle_port, self._settings.lifecycle_report_dir
        if not port and folder is None:
            words = "neither --lifecycle-port nor --lifecycle-report-dir is given"
            raise NoAnswerError(Reason.UNSUPPORTED, words)
        groups = await self._groups_with_schemas(port) if port else []
        reports = await self._reports(folder) if folder is not None else []
        data = messages(1, (text(1, name) + text(2, told) for name, told in reports))
        data += messages(2, groups)
        stamp = message(1, timestamp(self._now_ns()))
        return stamp + text(2, self._pod_name) + message(3, data)

    async def _reports(self, folder: Path) -> list[tuple[str, str]]:
        try:
            return await self._files.run(partial(newest_reports, folder))
        except OSError as error:
            words = f"--lifecycle-report-dir {folder}: {error.strerror or error}"
            raise NoAnswerError(Reason.NODE_ERROR, words) from error

    async def _inspected(self, port: int) -> tuple[bytes, ...]:
        """Return the groups as the liaison tells them, or as it told them a while ago."""
        async with self._inspecting:
            now_s = self._steady_s()
            kept = self._groups
            if kept is not None and now_s - kept[0] < self._settings.lifecycle_cache_ttl_s:
                return kept[1]
            try:
                groups = await self._inspect(port)
            except RpcError as error:
                if error.fault is not RpcFault.UNIMPLEMENTED:
                    raise NoAnswerError(Reason.NODE_UNREACHABLE, str(error)) from error
                groups = ()  # no liaison; asked again later, since nodes are upgraded
            except WireError as error:
                words = f"the node's answer tells of no groups: {error}"
                raise NoAnswerError(Reason.NODE_ERROR, words) from error
            self._groups = now_s, groups
            return groups

    async def _inspect(self, port: int) -> tuple[bytes, ...]:
        channel = await connect_node(port, self._access)
        try:
            told = await channel.unary(INSPECT_ALL, b"", timeout_s=INSPECT_TIMEOUT_S, limit=_limit)
        finally:
            channel.close()
        return Fields(told).blobs(1)

    # ---- schema ---------------------------------------------------------------------------------

    async def _groups_with_schemas(self, port: int) -> list[bytes]:
        """Return groups, and what this node has of their schema now; raises NoAnswerError."""
        # Imported here: nobody but a liaison has a schema to tell of.
        from fodc_agent.evidence.schema_state import (  # noqa: PLC0415 - see above
            SchemaState,
            with_schemas,
        )

        state = SchemaState()
        asked = self._inspected(port), self._schema_problem(port, state)
        groups, problem = await asyncio.gather(*asked)
        try:
            return with_schemas(groups, state, problem)
        except WireError as error:
            words = f"the node's answer tells of no groups: {error}"
            raise NoAnswerError(Reason.NODE_ERROR, words) from error

    async def _schema_problem(self, port: int, state: "SchemaState") -> str:
        """Read the node's schema into `state`; return why it did not come whole, or ""."""
        try:
            await self._read_schema(port, state)
        except TimeoutError:
            return f"not whole within {INSPECT_TIMEOUT_S:g} s"
        except RpcError as error:
            # Who does not know the question has no schema to tell of.
            return "" if error.fault is RpcFault.UNIMPLEMENTED else str(error)
        except WireError as error:
            return str(error)
        return ""

    async def _read_schema(self, port: int, state: "SchemaState") -> None:
        channel = await connect_node(port, self._access)
        try:
            async with channel.open(
                SCHEMA_STATE, timeout_s=INSPECT_TIMEOUT_S, limit=_limit
            ) as stream:
                await stream.send(b"")
                await stream.end()
                while (event := await stream.receive()) is not None:
                    state.take(event)
        finally:
            channel.close()

    async def registry(self) -> AsyncIterator[bytes]:
        """Yield the registry of schemas as the node's port serves it; raises NoAnswerError."""
        port = self._settings.schema_registry_port
        if not port:
            words = "--schema-registry-port names no port to ask"
            raise NoAnswerError(Reason.UNSUPPORTED, words)
        from fodc_agent.evidence.registry import read_registry  # noqa: PLC0415 - as above

        try:
            channel = await connect_node(port, self._access)
        except RpcError as error:
            raise NoAnswerError(Reason.NODE_UNREACHABLE, str(error)) from error
        try:
            async with asyncio.timeout(INSPECT_TIMEOUT_S):
                async for one in read_registry(channel):
                    yield one
        except TimeoutError as error:
            words = f"the registry did not come within {INSPECT_TIMEOUT_S:g} s"
            raise NoAnswerError(Reason.NODE_UNREACHABLE, words) from error
        finally:
            channel.close()

    # ---- crashes --------------------------------------------------------------------------------

    async def crashes(self) -> tuple[bytes, ...]:
        """Return the newest crashes, one message each; raises NoAnswerError."""
        if self._crashes is None:
            raise NoAnswerError(Reason.UNSUPPORTED, "--crash-source-dir names no folder")
        try:
            return await self._crashes.messages()
        except OSError as error:
            folder = self._settings.crash_dir
            words = f"--crash-source-dir {folder}: {error.strerror or error}"
            raise NoAnswerError(Reason.NODE_ERROR, words) from error
