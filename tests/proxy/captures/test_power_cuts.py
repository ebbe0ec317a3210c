# SPDX-License-Identifier: Apache-2.0
"""The proxy's machine loses power at any moment of any captures: nothing that was promised is lost.

The disk is simulated and forgets what was not synced; agents keep what they were not told to
forget, and each time one is told so, the world looks whether that would survive a power cut.
"""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from fodc_proxy.storage.folder import FolderObjects
from fodc_proxy.storage.partials import Partials

from ..storage.disks import SimulatedDisk  # noqa: TID252 - one folder's tests
from .test_any_order_of_cuts_and_restarts import PODS, STEPS, check_truth, step
from .world import World, artifact_bytes


class PoweredWorld(World):
    """A proxy on a disk that may lose its power."""

    def __init__(self, folder: Path) -> None:
        for name in ("store", "partial"):
            (folder / name).mkdir()  # for the locks, which no power cut leaves
        self.disk = SimulatedDisk(folder)
        super().__init__(folder)

    def next_store(self) -> FolderObjects:
        return FolderObjects(self.folder / "store", files=self.disk)

    def next_partials(self) -> Partials:
        return Partials(self.folder / "partial", files=self.disk)

    def on_disk(self) -> dict[str, bytes]:
        store = self.folder / "store"
        return {
            path.relative_to(store).as_posix(): data
            for path, data in self.disk.survivors().items()
            if store in path.parents
        }

    async def stop(self) -> None:
        await super().stop()
        self.partials._pool.shutdown(wait=True)

    async def cut_power(self, choose) -> None:
        """End the proxy and its disk, and start both again."""
        self.disk.dead = True
        for agent in self.agents.values():
            agent.to_proxy.clear()
            agent.to_agent.clear()
            agent.session.cut()
        self.linked.clear()
        await self.stop()
        self.disk.cut_power(choose)
        self.objects.inner = self.next_store()
        self.engine = self._new_engine()
        await self.open()
        assert self.engine.is_open
        assert self.store.damaged == 0
        assert self.store.unreadable == self.records.unreadable == ()


async def check_artifacts(world: World) -> None:
    for stored in world.store.select():
        size = stored.manifest.size_bytes
        content = b"".join([block async for block in world.store.stream(stored, 0, size)])
        assert content == artifact_bytes(stored.manifest.command_id)


MOMENTS = st.tuples(st.just("power"), st.integers(1, 40))


@settings(max_examples=60)
@given(
    steps=st.lists(st.tuples(STEPS | MOMENTS, st.sampled_from(PODS)), max_size=30), data=st.data()
)
def test_nothing_that_was_promised_is_lost_with_the_power(play, steps, data):
    """Defects P12 and P22 together."""

    def choose(below: int) -> int:
        return data.draw(st.integers(0, below - 1))

    async def scene(world):
        for pod_name in PODS:
            world.agent(pod_name)
        await world.ask("r1", captures=[{"profile": "cpu"}, {"profile": "heap"}])
        await world.ask("r2", captures=[{"profile": "cpu"}])
        for (what, amount), pod_name in steps:
            if what == "power":
                # It fails in the middle of what is being written meanwhile.
                world.disk.dies_at = world.disk.steps + amount
                await step(world, "deliver", 9, pod_name)
                await step(world, "settle_proxy", 0, pod_name)
                await world.cut_power(choose)
            else:
                await step(world, what, amount, pod_name)
        await world.settle()
        await world.deliver()
        assert {request.id for request in world.engine.select()} == {"r1", "r2"}
        await check_artifacts(world)
        check_truth(world)
        assert all(agent.spool == {} for agent in world.agents.values())

    play(scene, PoweredWorld)
