# SPDX-License-Identifier: Apache-2.0
"""A real proxy, agents that a test directs, and a relay that breaks what a proxy cannot break.

The proxy answers over real HTTP and the agents speak our contract over real gRPC, so nothing here
says what an answer looks like; each one is held against the document that says it. Only the relay
lies: it cuts, alters and goes away.
"""

import asyncio
import hashlib
import socket
import struct
import threading
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import grpc
from aiohttp import web

from fodc_protocol.profiles import parse_profile
from fodc_proxy.fleet.limits import Limits
from fodc_proxy.runtime import Proxy
from fodc_proxy.settings import Settings
from fodc_wire.fodc.v1 import agent_link_pb2 as link
from tests.proxy.live import ANYWHERE, GoAgent, LinkAgent, until
from tests.proxy.served import checked

WAIT_S = 20.0


class Loop:
    """An event loop in a thread of its own; `run` is called from the test's thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stage")
        self._thread.start()

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_S)
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


# ---- agents ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fails:
    """A capture that ends with a reason."""

    reason: str
    message: str = ""


@dataclass(frozen=True)
class Holds:
    """A capture that runs until it is cancelled; stopped, it has this content."""

    content: bytes = b""


@dataclass(frozen=True)
class Gives:
    """A capture that is there at once; 0 samples are an empty profile."""

    content: bytes
    samples: int = 247
    warnings: tuple[str, ...] = ()


class PlayedAgent(LinkAgent):
    """An agent of our contract; what it is and does are its attributes."""

    def __init__(self, proxy: Proxy, pod_name: str, role: str, **told: object) -> None:
        namespace = str(told.pop("namespace", "banyandb"))
        super().__init__(proxy, pod_name, role, namespace=namespace)
        self.agent_version = "0.1.0"
        tier = told.pop("tier", "hot")
        self.labels = {"type": tier} if tier else {}
        self.capabilities = [("cpu", "Supported", "", ""), ("heap", "Supported", "", "")]
        now_ms = time.time_ns() // 1_000_000
        self.window: tuple[int, int] | None = (now_ms - 3_300_000, now_ms)
        self.conditions: list[tuple[str, str, str]] = []
        self.held = (0, 0)
        self.settings: list[tuple[str, str, str]] = [("logging-level", "info", "flag")]
        self.series: list[tuple[str, Mapping[str, str], Mapping[int, float]]] = []
        self.plans: dict[str, object] = {}
        self.obeys = True
        self.commands: list[link.StartCapture] = []
        self._contents: dict[str, bytes] = {}
        for name, value in told.items():
            assert hasattr(self, name), name
            setattr(self, name, value)

    def hello(self) -> link.Hello:
        hello = super().hello()
        hello.agent_version = self.agent_version
        hello.identity.container_names.append("data")
        hello.identity.addresses.add(name="grpc", host="10.0.0.7", port=17912)
        state = hello.state
        for kind, standing, reason, message in self.capabilities:
            state.capabilities.add(kind=kind, state=standing, reason=reason, message=message)
        for kind, reason, message in self.conditions:
            state.conditions.add(type=kind, reason=reason, message=message)
        if self.window is not None:
            oldest_ms, newest_ms = self.window
            state.window.MergeFrom(
                link.WindowExtent(
                    oldest_ms=oldest_ms, newest_ms=newest_ms, series=381, bytes=1 << 20
                )
            )
        state.configuration_hash = "0123456789abcdef0123456789abcdef"
        state.artifact_count, state.artifact_bytes = self.held
        return hello

    async def listen(self) -> None:
        while (data := await self.stream.read()) is not grpc.aio.EOF:
            frame = link.ProxyFrame.FromString(data)
            kind = frame.WhichOneof("frame")
            match kind:
                case "start_capture":
                    await self._capture(frame.start_capture)
                case "cancel_capture":
                    await self._cancel(frame.cancel_capture)
                case "artifact_ack":
                    await self._send(frame.artifact_ack)
                case _ if kind.endswith("_query"):
                    self.queries.append(frame)
                    if not self.hung:
                        await self.answer(frame)

    async def answer(self, asked: link.ProxyFrame) -> None:
        match asked.WhichOneof("frame"):
            case "window_query":
                await self._answer_window(asked.window_query)
            case "configuration_query":
                entries = [
                    link.ConfigurationEntry(name=name, value=value, source=source)
                    for name, value, source in self.settings
                ]
                told = link.Configuration(
                    query_id=asked.configuration_query.query_id,
                    epoch=3,
                    hash="abcdef0123456789",
                    collected_at_ms=time.time_ns() // 1_000_000,
                    entries=entries,
                )
                await self.say(configuration=told)
            case _:
                await super().answer(asked)

    async def _answer_window(self, query: link.WindowQuery) -> None:
        for place, (name, labels, points) in enumerate(self.series):
            inside = {t: v for t, v in points.items() if query.start_ms <= t <= query.end_ms}
            told = [word for pair in labels.items() for word in pair]
            part = link.WindowPart(
                query_id=query.query_id,
                schema_id=place + 1,
                series=[link.WindowSeries(name=name, labels=told, type=1)],
                timestamps_ms=list(inside),
                values=struct.pack(f"<{len(inside)}d", *inside.values()),
            )
            await self.say(window_part=part)
        await self.say(window_part=link.WindowPart(query_id=query.query_id, last=True))

    # ---- captures

    async def _capture(self, command: link.StartCapture) -> None:
        self.commands.append(command)
        match self.plans[command.profile]:
            case Fails(reason, message):
                await self._update(command, "STATE_FAILED", reason=reason, message=message)
            case Holds():
                await self._update(command, "STATE_RUNNING", elapsed_ms=2000)
            case Gives() as plan:
                await self._update(command, "STATE_RUNNING", elapsed_ms=100)
                await self._give(command, plan)

    async def _give(self, command: link.StartCapture, plan: Gives) -> None:
        self._contents[command.command_id] = plan.content
        now_ms = time.time_ns() // 1_000_000
        artifact = link.Artifact(
            profile=command.profile,
            format=parse_profile(command.profile).facts.format,
            size_bytes=len(plan.content),
            sha256=hashlib.sha256(plan.content).hexdigest(),
            samples=plan.samples,
            started_at_ms=now_ms,
            finished_at_ms=now_ms + max(command.duration_ms, 100),
            warnings=plan.warnings,
        )
        await self._update(command, "STATE_CAPTURED", elapsed_ms=5100, artifact=artifact)

    async def _update(self, command: link.StartCapture, state: str, **more: object) -> None:
        update = link.CommandUpdate(command_id=command.command_id, **more)
        update.state = link.CommandUpdate.State.Value(state)
        await self.say(command_update=update)

    async def _cancel(self, cancel: link.CancelCapture) -> None:
        if not self.obeys:
            return
        command = next(c for c in self.commands if c.command_id == cancel.command_id)
        plan = self.plans[command.profile]
        if cancel.mode == link.CancelCapture.MODE_STOP and isinstance(plan, Holds):
            await self._give(command, Gives(plan.content))
        else:
            await self._update(command, "STATE_CANCELLED", reason="Aborted", message="as asked")

    async def _send(self, ack: link.ArtifactAck) -> None:
        content = self._contents.get(ack.command_id, b"")
        start = ack.received_bytes
        data = content[start : start + min(ack.credit_bytes, 1 << 16)]
        if ack.done or not data:
            return
        chunk = link.ArtifactChunk(
            command_id=ack.command_id, offset=start, data=data, crc32=zlib.crc32(data)
        )
        await self.say(artifact_chunk=chunk)


# ---- the proxy ------------------------------------------------------------------------------


class Stage:
    """One proxy and its agents for the length of a test."""

    def __init__(self, loop: Loop, folder: Path, **told: object) -> None:
        self._loop, self._folder = loop, folder
        self._agents: list[LinkAgent | GoAgent] = []
        limits = told.pop("limits", Limits())
        self._settings = Settings(ANYWHERE, ANYWHERE, limits, data_dir=str(folder / "data"), **told)
        self.proxy: Proxy = loop.run(self._open())

    async def _open(self) -> Proxy:
        proxy = Proxy(self._settings)
        proxy._web._runner.app.middlewares.insert(0, checked)
        await proxy.start()
        return proxy

    @property
    def url(self) -> str:
        return f"http://{self.proxy.http_address}"

    def agent(self, pod_name: str, role: str = "ROLE_DATA", **told: object) -> PlayedAgent:
        """Start an agent of our contract."""

        async def started() -> PlayedAgent:
            agent = PlayedAgent(self.proxy, pod_name, role, **told)
            await agent.start()
            return agent

        agent = self._loop.run(started())
        self._agents.append(agent)
        return agent

    def go_agent(self, pod_name: str, role: str = "ROLE_DATA") -> GoAgent:
        """Start an agent of the existing contract."""

        async def started() -> GoAgent:
            agent = GoAgent(self.proxy, pod_name, role)
            await agent.start()
            await agent.attached(self.proxy)
            return agent

        agent = self._loop.run(started())
        self._agents.append(agent)
        return agent

    def leave(self, agent: LinkAgent | GoAgent) -> None:
        """End an agent and wait until the proxy calls its node Offline."""
        self._agents.remove(agent)
        self._loop.run(self._left(agent))

    async def _left(self, agent: LinkAgent | GoAgent) -> None:
        await agent.close()

        def is_offline() -> bool:
            found = self.proxy.registry.find(agent.pod_name)
            return found is not None and found.phase == "Offline"

        await until(is_offline, f"{agent.pod_name} is offline")

    def deaf(self, pod_name: str) -> None:
        """Let an agent no longer obey when a capture is cancelled."""
        next(agent for agent in self._agents if agent.pod_name == pod_name).obeys = False

    def stored(self) -> int:
        """Return how many artifacts the proxy has."""
        return len(self.proxy.diagnostics.store.select())

    def alter(self, content: bytes) -> None:
        """Change the stored bytes of an artifact behind the proxy's back."""
        files = (path for path in self._folder.rglob("*") if path.is_file())
        (path,) = (path for path in files if path.read_bytes() == content)
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    def close(self) -> None:
        """End agents and proxy."""
        for agent in self._agents:
            self._loop.run(agent.close())
        self._loop.run(self.proxy.stop())


# ---- what a real proxy cannot do ------------------------------------------------------------


@dataclass
class Relay:
    """Passes everything on to a proxy and back, and breaks what it is told to break.

    `asked` has what came through. `cuts` are lengths after which the next downloads end, `altered`
    changes bodies, `instead` are answers of its own (status, body) to paths and to whatever has
    a word in its query. At the first exchange that has the word `vanish_at` in it, it is away.
    """

    url: str
    goal: str
    asked: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    altered: object = None
    instead: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    vanish_at: str = ""
    vanish_s: float = 0.4

    @classmethod
    def before(cls, loop: Loop, goal: str) -> "Relay":
        """Start one."""
        relay = cls("", goal)
        relay._loop = loop
        loop.run(relay._open())
        return relay

    async def _open(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._session = aiohttp.ClientSession(auto_decompress=False)
        self._tasks: set[asyncio.Task] = set()
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        # Bound for as long as we live: nobody else is given the port while we are away.
        self._kept = socket.socket()
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._kept.bind(("127.0.0.1", 0))
        self._port = self._kept.getsockname()[1]
        await self._listen()
        self.url = f"http://127.0.0.1:{self._port}"

    async def _listen(self) -> None:
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await self._site.start()

    def close(self) -> None:
        """End it."""
        self._loop.run(self._close())

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._runner.cleanup()
        await self._session.close()
        self._kept.close()

    async def _pass(self, asked: web.Request) -> web.StreamResponse:
        self.asked.append(f"{asked.method} {asked.path_qs}")
        body = await asked.read()
        if asked.method == "POST":
            self.bodies.append(body)
        if self.vanish_at and self.vanish_at in self.asked[-1]:
            self.vanish_at = ""
            return self._vanish(asked, self.vanish_s)
        for word, (status, data) in self.instead.items():
            if asked.path == word or word in asked.query:
                kind = "application/json" if data[:1] in b"{[" else "text/plain"
                headers = {"X-Content-Type-Options": "nosniff"}
                return web.Response(status=status, body=data, content_type=kind, headers=headers)
        wanted = {n: v for n, v in asked.headers.items() if n.lower() != "host"}
        async with self._session.request(
            asked.method, self.goal + asked.path_qs, data=body or None, headers=wanted
        ) as answer:
            return await self._tell(asked, answer, await answer.read())

    async def _tell(
        self, asked: web.Request, answer: aiohttp.ClientResponse, data: bytes
    ) -> web.StreamResponse:
        if self.altered is not None:
            data = self.altered(asked.path, data)
        kept = ("Content-Type", "ETag", "Content-Range", "Location")
        headers = {name: answer.headers[name] for name in kept if name in answer.headers}
        is_artifact = asked.path.startswith("/artifacts/art-") and asked.path.count("/") == 2
        is_download = is_artifact or asked.path.endswith("/bundle")
        if not (is_download and self.cuts):
            return web.Response(status=answer.status, body=data, headers=headers)
        headers["Content-Length"] = str(len(data))
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(asked)
        await response.write(data[: self.cuts.pop(0)])
        asked.transport.close()
        return response

    def _vanish(self, asked: web.Request, seconds: float) -> web.Response:
        task = asyncio.get_running_loop().create_task(self._away(seconds))
        self._tasks.add(task)
        asked.transport.abort()
        return web.Response()

    async def _away(self, seconds: float) -> None:
        await self._site.stop()
        await asyncio.sleep(seconds)
        await self._listen()
