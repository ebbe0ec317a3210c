# SPDX-License-Identifier: Apache-2.0
"""A whole proxy's diagnostics against simulated agents on a wire that may be cut anywhere.

The engine, its rules and the store on disk are the real ones; an agent is a real AgentSession
with a spool in a dictionary; the clock is a number.
"""

import asyncio
import hashlib
import json
import zlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from fodc_api.bad_input import read_body
from fodc_api.requests import RequestSpec
from fodc_api.words import Phase as ModelPhase
from fodc_protocol import ids
from fodc_protocol.link import effects, frames
from fodc_protocol.link.agent_side import AgentSession, Phase
from fodc_protocol.link.frames import CommandState, CommandUpdate
from fodc_proxy.captures.engine import Engine
from fodc_proxy.captures.model import Request, Spec
from fodc_proxy.captures.records import dump_request, load_request
from fodc_proxy.captures.table import Limits
from fodc_proxy.captures.targeting import Candidate
from fodc_proxy.http.requests import spec_of
from fodc_proxy.storage import names
from fodc_proxy.storage.artifacts import ArtifactStore
from fodc_proxy.storage.errors import StorageError
from fodc_proxy.storage.folder import FolderObjects
from fodc_proxy.storage.objects import Objects
from fodc_proxy.storage.partials import Partials
from fodc_proxy.storage.records import Records

START_MS = 1_800_000_000_000
CHUNK_BYTES = 100


def artifact_bytes(command_id: str) -> bytes:
    return hashlib.sha256(command_id.encode()).digest() * 11


def spec(**body: object) -> Spec:
    """What a body asks for, by default a heap of all nodes."""
    asked = {"target": {"all": True}, "captures": [{"profile": "heap"}]} | body
    return spec_of(read_body(json.dumps(asked).encode(), RequestSpec))


def wanted_commands(request: Request) -> set[str]:
    """Commands that a request, as it is stored, runs or is going to run."""
    return {
        ids.command_id(ids.RequestId(request.id), target.address, result.capture, attempt)
        for target in request.targets
        for result in target.results
        if not result.phase.ended
        # The attempt that runs, or the one after those that have ended.
        for attempt in (result.attempt + (result.phase is not ModelPhase.RUNNING),)
    }


class FlakyObjects:
    """The store on disk, with failures on demand."""

    def __init__(self, inner: Objects) -> None:
        self.inner = inner
        self.problem: Exception | None = None
        self.fails_on = "put get delete keys"
        self.fails_below = ""
        # Writes below this prefix wait for the gate.
        self.gate = asyncio.Event()
        self.at_gate = asyncio.Event()
        self.waits_below = "nothing"
        self.problem_after_gate: Exception | None = None
        self.operations = 0
        # Raise at this operation (counted from 1) and at all later ones, as a killed process would.
        self.dies_at = 0

    @property
    def place(self) -> str:
        return self.inner.place

    async def open(self, *, elected: bool = False) -> None:
        await self.inner.open(elected=elected)

    async def close(self) -> None:
        await self.inner.close()

    def _step(self, what: str, key: str = "") -> None:
        self.operations += 1
        if self.dies_at and self.operations >= self.dies_at:
            raise StorageError("killed here")
        wrong = what in self.fails_on and key.startswith(self.fails_below)
        if self.problem is not None and wrong:
            raise self.problem

    async def put(self, key: str, content: bytes | Path) -> None:
        self._step("put", key)
        if key.startswith(self.waits_below):
            self.at_gate.set()
            await self.gate.wait()
            if self.problem_after_gate is not None:
                raise self.problem_after_gate
        await self.inner.put(key, content)

    async def get(self, key: str) -> bytes:
        self._step("get")
        return await self.inner.get(key)

    async def delete(self, key: str) -> None:
        self._step("delete")
        await self.inner.delete(key)

    async def keys(self, prefix: str) -> dict[str, int]:
        self._step("keys")
        return await self.inner.keys(prefix)

    async def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        async for block in self.inner.stream(key, start, end):
            yield block


class SimulatedAgent:
    """An agent of our own contract, its disk and its side of the wire."""

    def __init__(self, world: "World", address: str) -> None:
        self.world = world
        self.address = address
        self.spool: dict[str, CommandUpdate] = {}
        self.content: dict[str, bytes] = {}
        self.commands: dict[str, frames.StartCapture] = {}
        self.begun: list[str] = []
        self.cancels: list[tuple[str, frames.CancelMode]] = []
        self.lives = 0
        self.to_proxy: deque[frames.AgentFrame] = deque()
        self.to_agent: deque[frames.ProxyFrame] = deque()
        self.garble = 0
        self.obeys_cancel = True
        self.max_running = 1000
        self.session = self._new_session()

    def _new_session(self) -> AgentSession:
        self.lives += 1
        namespace, _, pod_name = self.address.rpartition("/")
        return AgentSession(
            identity=frames.Identity(pod_name, namespace=namespace),
            state=frames.NodeState("ROLE_DATA"),
            agent_version="1.2.3",
            incarnation=f"life-{self.lives}",
            heartbeat_interval_ms=10_000_000_000,
            held=self.spool.values(),
        )

    @property
    def is_cut(self) -> bool:
        return self.session.phase is Phase.CUT

    @property
    def running(self) -> list[str]:
        return [c for c, held in self.spool.items() if held.state <= CommandState.RUNNING]

    def connect(self) -> None:
        if self.is_cut:
            self.act(self.session.opened(self.world.now_ms))

    def cut(self) -> None:
        was_linked = self.address in self.world.linked
        self.to_proxy.clear()
        self.to_agent.clear()
        self.session.cut()
        self.world.linked.discard(self.address)
        if was_linked:
            self.world.engine.unlinked(self.address)

    def restart(self) -> None:
        self.cut()
        for command_id in self.running:
            self.spool[command_id] = CommandUpdate(
                command_id, CommandState.FAILED, "AgentRestarted", "killed while it ran"
            )
        self.session = self._new_session()

    def lose_everything(self) -> None:
        self.spool.clear()
        self.restart()

    def act(self, asked: list[effects.AgentEffect]) -> None:
        for effect in asked:
            match effect:
                case effects.SendAgentFrame(frame):
                    self.to_proxy.append(frame)
                case effects.BeginCapture(command) if len(self.running) >= self.max_running:
                    self.begun.append(command.command_id)
                    self.fail(command.command_id, "Busy", f"{self.max_running} captures run")
                case effects.BeginCapture(command):
                    self.begun.append(command.command_id)
                    self.commands[command.command_id] = command
                    running = CommandUpdate(command.command_id, CommandState.RUNNING)
                    self.spool[command.command_id] = running
                case effects.EndCapture(command_id, mode):
                    self.cancels.append((command_id, mode))
                    if self.obeys_cancel:
                        self._end(command_id, mode)
                case effects.SendChunk(command_id, offset, length):
                    data = self.content[command_id][offset : offset + length]
                    chunk = frames.ArtifactChunk(command_id, offset, data, zlib.crc32(data))
                    self.to_proxy.append(chunk)
                case effects.Forget(command_id):
                    self.spool.pop(command_id, None)
                case effects.Hangup():
                    self.cut()
                case effects.Answer():
                    raise AssertionError("nobody asked a query")

    def _end(self, command_id: str, mode: frames.CancelMode) -> None:
        if mode is frames.CancelMode.STOP:
            self.finish(command_id, truncated=True)
            return
        self.spool[command_id] = CommandUpdate(
            command_id, CommandState.CANCELLED, "Aborted", "gone"
        )
        self.act(self.session.noted(self.spool[command_id]))

    def finish(
        self,
        command_id: str,
        *,
        content: bytes | None = None,
        samples: int = 7,
        sha256: str = "",
        truncated: bool = False,
    ) -> None:
        data = artifact_bytes(command_id) if content is None else content
        self.content[command_id] = data
        artifact = frames.Artifact(
            self.commands[command_id].profile,
            "pprof",
            len(data),
            sha256 or hashlib.sha256(data).hexdigest(),
            samples,
            self.world.now_ms - 1000,
            self.world.now_ms,
            truncated,
            ("a warning",) if truncated else (),
        )
        self.spool[command_id] = CommandUpdate(command_id, CommandState.CAPTURED, artifact=artifact)
        self.act(self.session.noted(self.spool[command_id]))

    def fail(self, command_id: str, reason: str, message: str = "so it is") -> None:
        self.spool[command_id] = CommandUpdate(command_id, CommandState.FAILED, reason, message)
        self.act(self.session.noted(self.spool[command_id]))

    def deliver_to_proxy(self) -> None:
        frame = self.to_proxy.popleft()
        engine = self.world.engine
        match frame:
            case frames.Hello():
                self.to_agent.append(frames.Welcome(1, "id", 0, "1", "p", CHUNK_BYTES))
                self.world.linked.add(self.address)
                engine.linked(self.address, frame)
            case frames.ArtifactChunk():
                if self.garble:
                    self.garble -= 1
                    frame = replace(frame, data=b"?" * len(frame.data))
                engine.heard(self.address, frame)
            case frames.CommandUpdate():
                engine.heard(self.address, frame)
            case _:
                pass

    def deliver_to_agent(self) -> None:
        frame = self.to_agent[0]
        if isinstance(frame, frames.ArtifactAck) and frame.done:
            self.world.check_may_be_forgotten(frame.command_id)
        self.act(self.session.received(self.to_agent.popleft(), self.world.now_ms))


class World:
    """One proxy, its disk, its clock and its agents."""

    limits = Limits()

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now_ms = START_MS
        self.linked: set[str] = set()
        self.agents: dict[str, SimulatedAgent] = {}
        self.nodes: dict[str, Candidate] = {}
        self.objects = FlakyObjects(self.next_store())
        self.engine = self._new_engine()

    def next_store(self) -> Objects:
        """The store as the next life of the proxy opens it."""
        return FolderObjects(self.folder / "store")

    def next_partials(self) -> Partials:
        """The partial bytes as the next life of the proxy opens them."""
        return Partials(self.folder / "partial")

    def _new_engine(self) -> Engine:
        clock = lambda: self.now_ms  # noqa: E731 - one expression
        self.store = ArtifactStore(self.objects, clock_ms=clock)
        self.partials = self.next_partials()
        self.records = Records(self.objects, dump_request, load_request)
        return Engine(
            fleet=self,
            link=self,
            artifacts=self.store,
            partials=self.partials,
            records=self.records,
            limits=self.limits,
            clock_ms=clock,
        )

    def check_may_be_forgotten(self, command_id: str) -> None:
        """Done means stored (P22): what an agent may forget is on the proxy's disk, or unwanted."""
        kept = self.on_disk()
        if any(
            command_id.encode() in data
            for key, data in kept.items()
            if key.endswith(names.MANIFEST_SUFFIX)
        ):
            return
        for key, data in kept.items():
            if key.startswith(names.REQUESTS):
                wanted = wanted_commands(load_request(data))
                assert command_id not in wanted, f"{command_id} is released and not stored"

    def on_disk(self) -> dict[str, bytes]:
        """Manifests and records that a restart would find, by key."""
        store = self.folder / "store"
        paths = [*store.rglob("*.json")]
        return {path.relative_to(store).as_posix(): path.read_bytes() for path in paths}

    # ---- Fleet and Link

    def candidates(self) -> tuple[Candidate, ...]:
        return tuple(self.nodes.values())

    def program_of(self, address: str) -> tuple[str, str]:
        return ("1.2.3", "life-1") if address in self.agents else ("", "")

    def send(self, address: str, frame: frames.ProxyFrame) -> bool:
        if address not in self.linked:
            return False
        self.agents[address].to_agent.append(frame)
        return True

    # ---- what tests do

    def node(self, address: str, role: str = "ROLE_DATA", **facts: object) -> None:
        """A node; its address is `namespace/pod`, or the pod name without a namespace."""
        namespace, _, pod_name = address.rpartition("/")
        self.nodes[address] = Candidate(
            pod_name, f"id-of-{address}", role, namespace=namespace, **facts
        )

    def agent(self, address: str, **facts: object) -> SimulatedAgent:
        self.node(address, **facts)
        agent = self.agents[address] = SimulatedAgent(self, address)
        agent.connect()
        return agent

    async def open(self) -> None:
        await self.partials.open()
        await self.objects.open()
        await self.store.open()
        await self.engine.open()

    async def restart_proxy(self) -> None:
        """Kill the proxy where it stands and start it on what is on disk."""
        for agent in self.agents.values():
            agent.to_proxy.clear()
            agent.to_agent.clear()
            agent.session.cut()
        self.linked.clear()
        await self.stop()
        self.objects.inner = self.next_store()
        self.engine = self._new_engine()
        await self.open()

    async def stop(self) -> None:
        """End the proxy where it stands."""
        await self.engine.stop()
        await self.objects.close()
        await self.partials.close()

    async def deliver(self) -> None:
        """Carry every frame to its end; captures are not finished by this."""
        while True:
            await self.engine.settled()
            waiting = [a for a in self.agents.values() if a.to_proxy or a.to_agent]
            if not waiting:
                return
            for agent in waiting:
                while agent.to_agent:
                    agent.deliver_to_agent()
                while agent.to_proxy:
                    agent.deliver_to_proxy()

    async def exchange(self) -> None:
        """Carry frames while something of the proxy waits: both sides get many turns."""
        for _ in range(50):
            await asyncio.sleep(0.002)
            for agent in self.agents.values():
                while agent.to_agent:
                    agent.deliver_to_agent()
                while agent.to_proxy:
                    agent.deliver_to_proxy()

    async def pass_time(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)
        self.engine.tick()
        await self.deliver()

    async def settle(self, *, rounds: int = 60) -> None:
        """Reconnect, finish captures and let time pass until every request has ended."""
        for _ in range(rounds):
            for agent in self.agents.values():
                agent.connect()
            await self.deliver()
            for agent in self.agents.values():
                for command_id in agent.running:
                    agent.finish(command_id)
            await self.deliver()
            if all(request.phase.ended for request in self.engine.select()):
                return
            await self.pass_time(2)
        raise AssertionError(f"never came to rest: {self.engine.select()}")

    async def submit(
        self, request_id: str = "r1", *, caller: str = "", **body: object
    ) -> tuple[Request, bool]:
        return await self.engine.submit(spec(**body), request_id, caller=caller)

    def failed_update(self, command_id: str) -> frames.CommandUpdate:
        return frames.CommandUpdate(command_id, CommandState.FAILED, "NodeError", "a lie")

    async def ask(self, request_id: str = "r1", *, caller: str = "", **body: object) -> Request:
        request, _ = await self.submit(request_id, caller=caller, **body)
        await self.deliver()
        return self.engine.get(request.id)

    def get(self, request_id: str = "r1") -> Request:
        return self.engine.get(request_id)


class Play:
    """Runs a scene in a world of its own: `play(scene)` with `async def scene(world)`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def __call__(self, scene, kind: type[World] = World, **limits: int) -> World:
        self._count += 1
        folder = self._folder / f"world-{self._count}"
        folder.mkdir()

        async def run() -> World:
            World.limits = Limits(**limits)
            world = kind(folder)
            await world.open()
            try:
                await scene(world)
            finally:
                await world.stop()
            return world

        return asyncio.run(run())
