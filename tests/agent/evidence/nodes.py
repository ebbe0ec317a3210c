# SPDX-License-Identifier: Apache-2.0
"""A node of the database for tests: a real gRPC server that answers what a test says."""

import contextlib
from collections.abc import AsyncIterator

import grpc
import grpc.aio

from fodc_wire.banyandb.database.v1 import database_pb2 as database
from fodc_wire.banyandb.database.v1 import rpc_pb2 as rpc
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as fodc

CURRENT = "banyandb.database.v1.NodeQueryService/GetCurrentNode"
STATE = "banyandb.database.v1.ClusterStateService/GetClusterState"
GROUPS = "banyandb.fodc.v1.GroupLifecycleService/InspectAll"
SCHEMAS = "banyandb.database.v1.NodeSchemaStateService/StreamGroupSchemaState"


def node(name: str, **told: object) -> database.Node:
    made = database.Node(**told)
    made.metadata.name = name
    return made


def current(one: database.Node) -> rpc.GetCurrentNodeResponse:
    return rpc.GetCurrentNodeResponse(node=one)


def state(*registered: database.Node, active=(), evictable=()) -> rpc.GetClusterStateResponse:
    made = rpc.GetClusterStateResponse()
    table = made.route_tables["table"]
    table.registered.extend(registered)
    table.active.extend(active)
    table.evictable.extend(evictable)
    return made


class Node:
    """Answers the methods that it was given; the others are UNIMPLEMENTED."""

    def __init__(self, **answers: object) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.port = 0

    async def answer(self, method: str, context) -> bytes:
        self.asked.append(method)
        told = self.answers[method]
        if isinstance(told, grpc.StatusCode):
            await context.abort(told, "as the test wants it")
        return told if isinstance(told, bytes) else told.SerializeToString()

    async def events(self, method: str, context):
        self.asked.append(method)
        told = self.answers[method]
        if isinstance(told, grpc.StatusCode):
            await context.abort(told, "as the test wants it")
        for one in told:
            yield one

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator["Node"]:
        server = grpc.aio.server()
        for method in (CURRENT, STATE, GROUPS):
            if method.rpartition("/")[2] in self.answers:
                server.add_generic_rpc_handlers((self.handler(method),))
        for service in (one for one in self.answers if one.endswith("RegistryService")):
            server.add_generic_rpc_handlers((self.lists(service),))
        if SCHEMAS.rpartition("/")[2] in self.answers:
            server.add_generic_rpc_handlers((self.streams(SCHEMAS),))
        self.port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield self
        finally:
            await server.stop(0)

    def handler(self, method: str):
        service, _, name = method.rpartition("/")

        async def call(_request, context):
            return await self.answer(name, context)

        return grpc.method_handlers_generic_handler(
            service, {name: grpc.unary_unary_rpc_method_handler(call)}
        )

    def lists(self, service: str):
        """A registry's List; its answer is that of the service."""

        async def call(_request, context):
            return await self.answer(service, context)

        return grpc.method_handlers_generic_handler(
            f"banyandb.database.v1.{service}", {"List": grpc.unary_unary_rpc_method_handler(call)}
        )

    def streams(self, method: str):
        service, _, name = method.rpartition("/")

        async def call(_request, context):
            async for one in self.events(name, context):
                yield one

        return grpc.method_handlers_generic_handler(
            service, {name: grpc.unary_stream_rpc_method_handler(call)}
        )


def groups(*names: str) -> fodc.InspectAllResponse:
    return fodc.InspectAllResponse(groups=[fodc.GroupLifecycleInfo(name=name) for name in names])
