# SPDX-License-Identifier: Apache-2.0
"""A real proxy on loopback and simulated agents of both contracts, over real sockets."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import grpc

from fodc_protocol.options import Address
from fodc_proxy.fleet.limits import Limits
from fodc_proxy.runtime import Proxy
from fodc_proxy.settings import Settings
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as fodc
from fodc_wire.fodc.v1 import agent_link_pb2 as link

SERVICE = "/banyandb.fodc.v1.FODCService/"
ANYWHERE = Address("127.0.0.1", 0)
WAIT_S = 10.0


@contextlib.asynccontextmanager
async def running(tmp_path: Path, **told: object) -> AsyncIterator[Proxy]:
    """A proxy on free ports; `told` are fields of Settings, or the `host` that embeds it."""
    limits, host = told.pop("limits", Limits()), told.pop("host", None)
    grpc_listen = told.pop("grpc_listen", ANYWHERE)
    settings = Settings(grpc_listen, ANYWHERE, limits, data_dir=str(tmp_path / "data"), **told)
    proxy = Proxy(settings, host)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    text: str


async def fetch(proxy: Proxy, path: str, method: str = "GET", **headers: str) -> Reply:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        aiohttp.ClientSession(headers=told) as session,
        session.request(method, f"http://{proxy.http_address}{path}") as response,
    ):
        return Reply(response.status, dict(response.headers), await response.text())


async def until(condition, what: str = "the condition") -> None:
    """Wait for something that happens in another coroutine of this process."""
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.005)


class Calling:
    """What both kinds of agent share: a channel and a task that answers."""

    def __init__(
        self, proxy: Proxy, token: str = "", tls: grpc.ChannelCredentials | None = None
    ) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        if tls is None:
            self.channel = grpc.aio.insecure_channel(proxy.grpc_address, options)
        else:
            options.append(("grpc.ssl_target_name_override", "proxy.example"))
            self.channel = grpc.aio.secure_channel(proxy.grpc_address, tls, options)
        self.tasks: list[asyncio.Task] = []
        self.token = token

    def call(self, method: str, **metadata: str):
        if self.token:
            metadata["authorization"] = f"Bearer {self.token}"
        return self.channel.stream_stream(method)(metadata=tuple(metadata.items()))

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.channel.close()

    async def __aenter__(self):
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class LinkAgent(Calling):
    """An agent of our contract; `hung` ones take queries and never answer."""

    def __init__(
        self,
        proxy: Proxy,
        pod_name: str,
        role: str = "ROLE_DATA",
        *,
        incarnation: str = "i1",
        namespace: str = "banyandb",
        pod_uid: str = "",
        token: str = "",
        tls: grpc.ChannelCredentials | None = None,
    ) -> None:
        super().__init__(proxy, token, tls)
        self.pod_uid = pod_uid
        self.namespace = namespace
        self.pod_name, self.role, self.incarnation = pod_name, role, incarnation
        self.hung = False
        self.queries: list[link.ProxyFrame] = []
        self.writing = asyncio.Lock()
        self.welcome: link.ProxyFrame | None = None
        self.last: link.ProxyFrame | None = None
        self.heard: list[str] = []
        self.labels = {"type": "hot"}
        self.has_answered = asyncio.Event()  # the question that is asked of every agent

    async def start(self) -> None:
        self.stream = self.call("/fodc.v1.AgentLink/Connect")
        await self.say(hello=self.hello())
        self.welcome = link.ProxyFrame.FromString(await self.stream.read())
        self.agent_id = self.welcome.welcome.agent_id
        self.tasks.append(asyncio.create_task(self.listen()))

    def hello(self) -> link.Hello:
        state = link.NodeState(node_role=self.role, labels=self.labels)
        identity = link.Identity(
            pod_name=self.pod_name, namespace=self.namespace, pod_uid=self.pod_uid
        )
        return link.Hello(
            protocol_min=1,
            protocol_max=1,
            agent_version="1.0",
            identity=identity,
            incarnation=self.incarnation,
            state=state,
        )

    async def say(self, **one: object) -> None:
        await self.write(link.AgentFrame(**one).SerializeToString())

    async def write(self, data: bytes) -> None:
        """Write one message at a time: gRPC takes no two."""
        async with self.writing:
            await self.stream.write(data)

    async def listen(self) -> None:
        while (data := await self.stream.read()) is not grpc.aio.EOF:
            frame = link.ProxyFrame.FromString(data)
            kind = frame.WhichOneof("frame")
            if kind == "crashes_query":  # asked of every agent that links
                await self.answer_crashes(frame)
                continue
            self.last = frame
            self.heard.append(kind)
            if not kind.endswith("_query"):
                continue
            self.queries.append(self.last)
            if not self.hung:
                await self.answer(self.last)

    async def answer_crashes(self, asked: link.ProxyFrame) -> None:
        failed = link.QueryFailed(query_id=asked.crashes_query.query_id, reason="Unsupported")
        await self.say(query_failed=failed)
        self.has_answered.set()

    async def answer(self, asked: link.ProxyFrame) -> None:
        labels = f'node_role="{self.role}",pod_name="{self.pod_name}"'
        match asked.WhichOneof("frame"):
            case "topology_query" | "lifecycle_query" as kind:
                query_id = getattr(asked, kind).query_id
                await self.say(
                    query_failed=link.QueryFailed(query_id=query_id, reason="Unsupported")
                )
            case "metrics_query":
                block = link.Family(
                    name="up", type=1, help="h", text=f"up{{{labels}}} 1\n".encode(), samples=1
                )
                query_id = asked.metrics_query.query_id
                await self.say(
                    metrics_page=link.MetricsPage(query_id=query_id, families=[block], last=True)
                )
            case "window_query":
                series = link.WindowSeries(name="up", labels=["pod_name", self.pod_name], type=1)
                part = link.WindowPart(
                    query_id=asked.window_query.query_id,
                    schema_id=1,
                    series=[series],
                    timestamps_ms=[2000, 1000],
                    values=struct.pack("<2d", 20.0, float("nan")),
                    last=True,
                )
                await self.say(window_part=part)
            case "configuration_query":
                configuration = link.Configuration(
                    query_id=asked.configuration_query.query_id, epoch=3, hash="h"
                )
                await self.say(configuration=configuration)


class GoAgent(Calling):
    """An agent of the existing contract with registration and metrics stream."""

    def __init__(
        self, proxy: Proxy, pod_name: str, role: str = "ROLE_DATA", *, token: str = ""
    ) -> None:
        super().__init__(proxy, token)
        self.pod_name, self.role = pod_name, role
        self.hung = False
        self.commands: list[fodc.StreamMetricsResponse] = []
        self.labels = {"type": "hot"}
        self.value = 42.5

    def request(self) -> bytes:
        return fodc.RegisterAgentRequest(
            node_role=self.role,
            pod_name=self.pod_name,
            labels=self.labels,
            container_names=["data"],
        ).SerializeToString()

    async def start(self) -> None:
        self.registration = self.call(SERVICE + "RegisterAgent")
        await self.registration.write(self.request())
        self.reply = fodc.RegisterAgentResponse.FromString(await self.registration.read())
        self.agent_id = self.reply.agent_id
        if self.reply.success:
            self.metrics = self.call(SERVICE + "StreamMetrics", agent_id=self.agent_id)
            self.tasks.append(asyncio.create_task(self.listen()))

    async def beat(self) -> None:
        await self.registration.write(self.request())

    async def listen(self) -> None:
        while (data := await self.metrics.read()) is not grpc.aio.EOF:
            self.commands.append(fodc.StreamMetricsResponse.FromString(data))
            if not self.hung:
                await self.answer()

    def sample(self) -> fodc.Metric:
        labels = {"pod_name": self.pod_name, "container_name": "data", "node_role": self.role}
        return fodc.Metric(name="up", type=1, value=self.value, labels=labels, description="h")

    async def answer(self) -> None:
        message = fodc.StreamMetricsRequest(metrics=[self.sample()])
        await self.metrics.write(message.SerializeToString())

    async def attached(self, proxy: Proxy) -> None:
        """Wait until the proxy has the metrics stream."""
        await until(lambda: proxy.fodc.has_stream(self.agent_id, "StreamMetrics"))
