# SPDX-License-Identifier: Apache-2.0
"""Everything of a DiagnosticRequest in one process: API server in memory, kopf, controller, proxy.

kopf in its thread, the bridge, the cluster client and the proxy's engine are the real ones;
agents are simulated on a wire that the scene carries. Time is real and can be turned forward.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubernetes.aio.client import ApiClient, Configuration

from fodc_kube.access import Access
from fodc_kube.client import Cluster
from fodc_kube.events import Events
from fodc_kube.retrying import Backoff
from fodc_operator.diagnostics.controller import Controller
from fodc_operator.diagnostics.pace import Pace
from fodc_operator.handlers import requests as handlers
from fodc_operator.handlers.bridge import Bridge
from fodc_operator.handlers.thread import HandlersThread
from fodc_protocol.link import frames
from fodc_proxy.access.audit import Deed
from fodc_proxy.captures.table import Limits
from fodc_proxy.fleet.membership import Contract, Registration
from fodc_proxy.fleet.registry import Registry
from tests.operator.memory_api.server import EVENTS, NODES, REQUESTS, MemoryApi, serving
from tests.operator.servers import configuration_of
from tests.proxy.captures.world import SimulatedAgent, World

NAMESPACE = "banyandb"
DEADLINE_S = 15.0
Body = dict[str, Any]


class LiveWorld(World):
    """The proxy's world on a clock that goes on, and that tests turn forward."""

    turned_ms = 0

    @property
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.turned_ms

    @now_ms.setter
    def now_ms(self, value: int) -> None:
        """The world's own start is not ours."""


class Scene:
    """One operator, one API server, the agents of a test."""

    def __init__(self, world: LiveWorld, api: MemoryApi, cluster: Cluster, pace: Pace) -> None:
        self.world = world
        self.api = api
        self.cluster = cluster
        self.pace = pace
        self.registry = Registry()
        self.agents: dict[str, SimulatedAgent] = {}
        self.recorder = Events(cluster)
        self.deeds: list[Deed] = []
        self.controller = self._new_controller()
        self._running: list[asyncio.Task[None]] = []

    # ---- life ---------------------------------------------------------------------------------

    def _new_controller(self) -> Controller:
        return Controller(
            self.cluster,
            self.world.engine,
            self.registry,
            self.recorder,
            home_namespace=NAMESPACE,
            pace=self.pace,
            clock_ms=lambda: self.world.now_ms,
            audit=self.deeds.append,
        )

    async def start(self, url: str) -> None:
        """Let the controller work and kopf watch."""
        kopf = HandlersThread(lambda: Access(url), ())
        handlers.register(kopf.registry, self.controller, Bridge(asyncio.get_running_loop()))
        works = (self.controller.run, self.recorder.run, kopf.run)
        self._running = [asyncio.create_task(work()) for work in works]
        await self.until("kopf watches", lambda: self.api.watches)

    async def stop(self) -> None:
        """End both; what is on disk and at the API server stays."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def restart(self, url: str, *, lose_data: bool = False) -> None:
        """End everything of the operator and begin anew on what is on disk."""
        await self.stop()
        if lose_data:
            for key in await self.world.objects.keys("requests/"):
                await self.world.objects.delete(key)
        await self.world.restart_proxy()
        self.controller = self._new_controller()
        await self.start(url)

    # ---- the fleet ----------------------------------------------------------------------------

    def agent(self, pod: str, namespace: str = NAMESPACE, **labels: str) -> SimulatedAgent:
        """A node with its agent, registered, linked and mirrored.

        It is known as its pod, or elsewhere than in the usual namespace as `namespace/pod`.
        """
        self.register(pod, namespace)
        self.node(pod, namespace, **labels)
        address = f"{namespace}/{pod}"
        agent = self.agents[pod if namespace == NAMESPACE else address] = self.world.agent(address)
        return agent

    def register(self, pod: str, namespace: str = NAMESPACE) -> None:
        identity = frames.Identity(pod, namespace=namespace)
        state = frames.NodeState("ROLE_DATA", {"tier": "hot"})
        self.registry.register(Registration(identity, state, Contract.LINK))

    def lose(self, pod: str) -> None:
        """The connection of a pod's agent ends."""
        member = self.registry.find(pod)
        assert member is not None
        self.registry.disconnected(member.agent_id)
        self.agents[pod].cut()

    def node(self, name: str, namespace: str = NAMESPACE, **labels: str) -> None:
        """A FodcNode as the mirror writes it."""
        store = self.api.store(NODES)
        store.create(namespace, {"metadata": {"name": name, "labels": labels}})
        status = {"status": {"phase": "Online", "role": "Data", "tier": "hot"}}
        kind = "application/merge-patch+json"
        store.patch(namespace, name, kind, status, subresource="status")

    # ---- what people do -----------------------------------------------------------------------

    def apply(self, name: str = "one", namespace: str = NAMESPACE, **spec: Any) -> Body:
        body = {"target": {"all": True}, "captures": [{"type": "HeapSnapshot"}]} | spec
        return self.api.store(REQUESTS).create(
            namespace, {"metadata": {"name": name}, "spec": body}
        )

    def change(self, name: str = "one", namespace: str = NAMESPACE, **spec: Any) -> None:
        kind = "application/merge-patch+json"
        self.api.store(REQUESTS).patch(namespace, name, kind, {"spec": spec})

    def delete(self, name: str = "one", namespace: str = NAMESPACE) -> None:
        self.api.store(REQUESTS).delete(namespace, name)

    def delete_unseen(self, name: str = "one", namespace: str = NAMESPACE) -> None:
        """As when the watch was broken: nobody is told."""
        del self.api.store(REQUESTS).objects[namespace, name]

    def body(self, name: str = "one", namespace: str = NAMESPACE) -> Body:
        return self.api.store(REQUESTS).objects[namespace, name]

    def exists(self, name: str = "one", namespace: str = NAMESPACE) -> bool:
        return (namespace, name) in self.api.store(REQUESTS).objects

    def status(self, name: str = "one", namespace: str = NAMESPACE) -> Body:
        return self.body(name, namespace).get("status", {})

    def phase(self, name: str = "one", namespace: str = NAMESPACE) -> str:
        return self.status(name, namespace).get("phase", "")

    def conditions(self, name: str = "one") -> dict[str, tuple[str, str]]:
        found = self.status(name).get("conditions", [])
        return {one["type"]: (one["status"], one["reason"]) for one in found}

    def events(self) -> list[tuple[str, str]]:
        """Type and reason of each Event, in its order."""
        found = sorted(self.api.store(EVENTS).objects.values(), key=lambda one: one["eventTime"])
        return [(one["type"], one["reason"]) for one in found]

    def writes(self, name: str = "one") -> int:
        """How often a status was sent."""
        return self.api.count("PATCH", f"/{name}/status")

    # ---- time ---------------------------------------------------------------------------------

    async def until(self, what: str, holds: Callable[[], object]) -> None:
        """Carry frames until something holds."""
        ends = time.monotonic() + DEADLINE_S
        while True:
            changed = self.api.store(REQUESTS).changed
            await self.world.deliver()
            if holds():
                return
            if time.monotonic() > ends:
                statuses = {k: v.get("status") for k, v in self.api.store(REQUESTS).objects.items()}
                raise AssertionError(f"never: {what}; {statuses}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await changed.wait()

    async def until_phase(self, phase: str, name: str = "one", namespace: str = NAMESPACE) -> None:
        await self.until(f"{name} is {phase}", lambda: self.phase(name, namespace) == phase)

    async def finish(self, pod: str) -> None:
        """Let the captures of a pod end well."""
        agent = self.agents[pod]
        await self.until(f"{pod} captures", lambda: agent.running)
        for command_id in agent.running:
            agent.finish(command_id)
        await self.world.deliver()

    async def turn(self, seconds: float) -> None:
        """Turn the clock forward."""
        self.world.turned_ms += round(seconds * 1000)
        self.world.engine.tick()
        await self.world.deliver()
        self.controller.wake()


QUICK = Pace(between_writes_ms=200, relist_ms=100, grace_ms=0, grace_poll_ms=50)


class Play:
    """Runs a scene: `play(scene)` with `async def scene(s, url)`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def __call__(self, scene: Callable[..., Any], pace: Pace = QUICK, **limits: int) -> None:
        self._count += 1
        asyncio.run(self._run(scene, pace, self._folder / f"scene-{self._count}", limits))

    async def _run(
        self, scene: Callable[..., Any], pace: Pace, folder: Path, limits: dict[str, int]
    ) -> None:
        folder.mkdir()
        LiveWorld.limits = Limits(**limits)
        world = LiveWorld(folder)
        await world.open()
        async with serving() as (api, url):
            client = ApiClient(configuration=_configuration(url))
            cluster = Cluster(client, deadline_s=1.0, attempt_s=1.0, backoff=Backoff(0.01, 0.05))
            made = Scene(world, api, cluster, pace)
            try:
                await made.start(url)
                await scene(made, url)
            finally:
                await made.stop()
                await world.stop()
                await client.close()


def _configuration(url: str) -> Configuration:
    found = configuration_of(url)
    found.retries = None
    return found
