# SPDX-License-Identifier: Apache-2.0
"""A scripted agent of the existing contract that answers on the streams of evidence."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import grpc
from google.protobuf import json_format

from fodc_proxy.runtime import Proxy
from fodc_wire.banyandb.database.v1 import database_pb2 as database
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as fodc

from .live import SERVICE, GoAgent, until

DATA = Path(__file__).parents[1] / "data"
TOPOLOGY, LIFECYCLE = "StreamClusterTopology", "StreamLifecycle"
REGISTRY, CRASHES = "StreamSchemaRegistry", "StreamCrashDiagnostics"
PRESSURE = "StreamPressureProfiles"
Script = Callable[[bytes], Iterable[bytes]]


def always(*messages: object) -> Script:
    """Answer every command with these."""
    data = [m if isinstance(m, bytes) else m.SerializeToString() for m in messages]
    return lambda _command: data


def silence(_command: bytes) -> Iterable[bytes]:
    """Take a command and say nothing."""
    return ()


class EvidentAgent(GoAgent):
    """Opens a stream for each method that it `gives`, and answers commands as the script says."""

    def __init__(
        self, proxy: Proxy, pod_name: str, role: str = "ROLE_DATA", **gives: Script
    ) -> None:
        super().__init__(proxy, pod_name, role)
        self.proxy, self.gives = proxy, gives
        self.streams = {}
        self.writing = asyncio.Lock()
        self.heard: list[tuple[str, bytes]] = []

    async def start(self) -> None:
        await super().start()
        for method in self.gives:
            await self.open(method)

    async def open(self, method: str) -> None:
        call = self.call(SERVICE + method, agent_id=self.agent_id)
        self.streams[method] = call
        self.tasks.append(asyncio.create_task(self.serve(method, call)))
        await until(lambda: self.proxy.fodc.has_stream(self.agent_id, method))

    async def serve(self, method: str, call) -> None:
        while (data := await call.read()) is not grpc.aio.EOF:
            self.heard.append((method, data))
            for message in self.gives[method](data):
                await self.write(call, message)

    async def say(self, method: str, message) -> None:
        data = message if isinstance(message, bytes) else message.SerializeToString()
        await self.write(self.streams[method], data)

    async def write(self, call, data: bytes) -> None:
        """Write one message at a time: gRPC takes no two."""
        async with self.writing:
            await call.write(data)

    async def asked(self, method: str, times: int = 1) -> None:
        await until(lambda: sum(one == method for one, _ in self.heard) >= times)


# ---- messages -----------------------------------------------------------------------------------


def recorded(name: str) -> bytes:
    """A message of a real Go agent."""
    return bytes.fromhex((DATA / "grpc" / f"{name}.hex").read_text())


def node(name: str, **told: object) -> database.Node:
    made = database.Node(**told)
    made.metadata.name = name
    return made


def topology(nodes: Iterable[database.Node], *calls: tuple[str, str]):
    made = fodc.StreamClusterTopologyRequest()
    made.topology.nodes.extend(nodes)
    for source, target in calls:
        made.topology.calls.add(id=f"{source}-{target}", source=source, target=target)
    return made


def lifecycle(pod_name: str, groups: Iterable[dict | fodc.GroupLifecycleInfo] = (), **reports: str):
    """Groups in the words of the recorded bodies."""
    made = fodc.StreamLifecycleRequest(pod_name=pod_name)
    made.lifecycle_data.SetInParent()
    for one in groups:
        group = (
            json_format.ParseDict(one, fodc.GroupLifecycleInfo()) if isinstance(one, dict) else one
        )
        made.lifecycle_data.groups.append(group)
    for name, text in reports.items():
        made.lifecycle_data.reports.add(filename=f"{name}.json", report_json=text)
    return made


def schema_group(name: str, *objects: tuple[str, str, int], node_name: str = "n1", **told: object):
    """A group with what one node has of it: kind, name, fingerprint."""
    made = fodc.GroupLifecycleInfo(name=name, catalog="CATALOG_MEASURE", **told)
    for kind, of, fingerprint in objects:
        one = made.schema_consistency.objects.add(kind=kind, name=of)
        one.node_fingerprints.add(
            node=node_name, cache_fingerprint=fingerprint, runtime_fingerprint=fingerprint
        )
    return made


def registry(groups: dict[str, list[tuple[str, str, int]]], *, done: bool = True):
    """The pieces of a registry read: a message for each group, and the end."""
    told = []
    for name, objects in groups.items():
        made = fodc.StreamSchemaRegistryRequest()
        made.group.group = name
        for kind, of, fingerprint in objects:
            made.group.objects.add(kind=kind, name=of, fingerprint=fingerprint)
        told.append(made)
    return [*told, *([fodc.StreamSchemaRegistryRequest(done=True)] if done else [])]


def registry_error(group: str, error: str):
    made = fodc.StreamSchemaRegistryRequest()
    made.group.group, made.group.error = group, error
    return made
