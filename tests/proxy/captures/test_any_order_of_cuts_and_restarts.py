# SPDX-License-Identifier: Apache-2.0
"""Whatever is cut or restarted when, each command ends once, in a state that is true."""

from hypothesis import given, settings
from hypothesis import strategies as st

from fodc_api.words import CancelMode, Phase
from fodc_protocol.link.frames import CommandState

from .world import World, artifact_bytes

PODS = ("pod-0", "pod-1")
STEPS = st.sampled_from(
    [
        ("deliver", 1),
        ("deliver", 3),
        ("deliver", 9),
        ("cut", 0),
        ("connect", 0),
        ("finish", 0),
        ("fail", 0),
        ("restart_agent", 0),
        ("restart_proxy", 0),
        ("garble", 0),
        ("time", 1),
        ("time", 12),
        ("stop", 0),
        ("abort", 0),
        ("settle_proxy", 0),
    ]
)


async def step(world: World, what: str, amount: int, pod_name: str) -> None:
    agent = world.agents[pod_name]
    match what:
        case "deliver":
            for _ in range(amount):
                if agent.to_agent:
                    agent.deliver_to_agent()
                if agent.to_proxy:
                    agent.deliver_to_proxy()
        case "cut":
            agent.cut()
        case "connect":
            agent.connect()
        case "finish" | "fail":
            for command_id in agent.running[:1]:
                if what == "finish":
                    agent.finish(command_id)
                else:
                    agent.fail(command_id, "NodeUnreachable")
        case "restart_agent":
            agent.restart()
        case "restart_proxy":
            await world.restart_proxy()
        case "garble":
            agent.garble = 1
        case "time":
            world.now_ms += amount * 1000
            world.engine.tick()
        case "stop" | "abort":
            await world.engine.cancel("r2", CancelMode(what))
        case "settle_proxy":
            await world.engine.settled()


def check_artifacts(world: World) -> None:
    """What is listed is whole."""
    for stored in world.store.select():
        path = world.folder / "store" / stored.key
        assert path.read_bytes() == artifact_bytes(stored.manifest.command_id)


def check_truth(world: World) -> None:
    """What a result says is what is there."""
    by_id = {stored.manifest.artifact_id: stored.manifest for stored in world.store.select()}
    claimed = set()
    for request in world.engine.select():
        assert request.phase.ended
        for target in request.targets:
            assert target.phase.ended
            for result in target.results:
                assert result.phase.ended
                if result.phase is Phase.SUCCEEDED:
                    claimed.add(result.artifact_id)
                    assert by_id[result.artifact_id].sha256 == result.sha256
                else:
                    assert result.reason
                    assert result.message
    assert claimed == set(by_id)


@settings(max_examples=60)
@given(steps=st.lists(st.tuples(STEPS, st.sampled_from(PODS)), max_size=40))
def test_every_command_ends_once_and_true(play, steps):
    ended: dict[str, Phase] = {}

    def watch(request):
        if request.phase.ended:
            known = ended.setdefault(request.id, request.phase)
            assert known is request.phase, "an ended phase changed"

    async def scene(world):
        for pod_name in PODS:
            world.agent(pod_name)
        await world.ask("r1", captures=[{"profile": "cpu"}, {"profile": "heap"}])
        await world.ask("r2", captures=[{"profile": "cpu"}])
        for (what, amount), pod_name in steps:
            world.engine.subscribe(watch)
            await step(world, what, amount, pod_name)
            cpus = [
                (pod, one.profile)
                for pod in PODS
                for one in world.engine.active_captures(pod)
                if one.profile == "cpu"
            ]
            assert len(set(cpus)) == len(cpus), "two CPU profiles at once on one pod"
        await world.settle()
        await world.deliver()
        check_artifacts(world)
        check_truth(world)
        for agent in world.agents.values():
            assert len(set(agent.begun)) == len(agent.begun), "a capture was done twice"
            finished = {c: h for c, h in agent.spool.items() if h.state > CommandState.RUNNING}
            assert finished == {}
        assert list((world.folder / "partial").glob("*.part")) == []
        assert world.engine._rules.state.captures == {}

    play(scene)
