# SPDX-License-Identifier: Apache-2.0
"""The proxy dies and returns, or its disk does not do what it should."""

import asyncio

import pytest

from fodc_api.words import CancelMode, Phase, RequestPhase
from fodc_protocol.errors import Reason
from fodc_proxy.storage.errors import StorageError

from .world import artifact_bytes


def only_result(world):
    (target,) = world.get().targets
    (result,) = target.results
    return result


FULL = StorageError("writing: the artifact store is full; remove artifacts or give it more space")


def test_restart_attaches_to_the_capture_that_runs(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask()
        await world.restart_proxy()
        assert world.get().phase is RequestPhase.RUNNING
        await world.settle()
        assert world.get().phase is RequestPhase.SUCCEEDED
        assert len(agent.begun) == 1

    play(scene)


def test_restart_resumes_a_transfer_where_it_was(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask()
        agent.finish(agent.begun[0])
        agent.deliver_to_proxy()
        await world.engine.settled()
        agent.deliver_to_agent()
        agent.deliver_to_proxy()
        await world.engine.settled()
        await world.restart_proxy()
        agent.connect()
        agent.deliver_to_proxy()
        await world.engine.settled()
        agent.deliver_to_agent()
        assert agent.to_agent[0].command_id == agent.begun[0]
        await world.settle()
        assert world.get().phase is RequestPhase.SUCCEEDED

    play(scene)


def test_restart_fails_what_had_its_deadline_meanwhile(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask()
        world.now_ms += 31_000
        await world.restart_proxy()
        result = only_result(world)
        assert (result.phase, result.reason) == (Phase.FAILED, "DeadlineExceeded")
        assert result.message == "its deadline passed while the proxy was down"
        assert world.get().phase is RequestPhase.FAILED
        agent.connect()
        await world.deliver()
        assert agent.spool == {}

    play(scene)


def test_restart_finds_the_artifact_that_was_stored_before_its_record(play):
    """Also when the agent has lost everything meanwhile."""

    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask()
        world.objects.problem, world.objects.fails_below = FULL, "requests/"
        agent.finish(agent.begun[0])
        await world.deliver()
        assert len(world.store) == 1
        world.objects.problem = None
        agent.lose_everything()
        await world.restart_proxy()
        request = world.get()
        assert request.phase is RequestPhase.SUCCEEDED
        (stored,) = world.store.select()
        assert only_result(world).artifact_id == stored.manifest.artifact_id
        assert only_result(world).sha256 == stored.manifest.sha256

    play(scene)


def test_agent_that_lost_everything_gets_the_capture_again(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask()
        await world.deliver()
        agent.lose_everything()
        await world.settle()
        assert world.get().phase is RequestPhase.SUCCEEDED
        assert only_result(world).attempt == 2

    play(scene)


def test_restart_repeats_a_cancel(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask()
        agent.cut()
        await world.engine.cancel("r1", CancelMode.ABORT)
        await world.restart_proxy()
        agent.connect()
        await world.deliver()
        assert world.get().phase is RequestPhase.CANCELLED

    play(scene)


def test_restart_keeps_ended_requests_as_they_were(play):
    async def scene(world):
        world.agent("pod-0")
        await world.ask()
        await world.settle()
        before = world.get()
        await world.restart_proxy()
        assert world.get() == before
        assert len(world.store) == 1

    play(scene)


def test_restart_drops_partial_bytes_that_nobody_waits_for(play):
    async def scene(world):
        (world.folder / "partial" / "cmd-old.part").write_bytes(b"x")
        await world.restart_proxy()
        assert list((world.folder / "partial").glob("*.part")) == []

    play(scene)


def test_damaged_record_is_left_alone_and_the_proxy_starts(play):
    async def scene(world):
        world.agent("pod-0")
        await world.ask()
        await world.settle()
        record = world.folder / "store/requests/r1.json"
        (world.folder / "store/requests/r0.json").write_bytes(record.read_bytes()[:-20])
        await world.restart_proxy()
        assert [request.id for request in world.engine.select()] == ["r1"]
        assert (world.folder / "store/requests/r0.json").exists()

    play(scene)


# ---- storage ------------------------------------------------------------------------------------


def test_request_that_cannot_be_stored_is_not_taken_in(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.deliver()
        world.objects.problem = FULL
        with pytest.raises(StorageError, match="full"):
            await world.ask()
        assert world.engine.select() == ()
        assert agent.begun == []

    play(scene)


def test_full_disk_at_commit_fails_the_capture_with_what_to_do(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask()
        world.objects.problem, world.objects.fails_below = FULL, "artifacts/"
        agent.finish(agent.begun[0])
        await world.deliver()
        result = only_result(world)
        assert (result.phase, result.reason) == (Phase.FAILED, Reason.STORAGE_FAILED)
        assert "give it more space" in result.message
        assert world.store.select() == ()
        assert agent.spool == {}

    play(scene)


def test_full_disk_while_bytes_arrive_fails_the_capture(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask()

        async def append(*_: object) -> None:
            raise FULL

        world.partials.append = append
        agent.finish(agent.begun[0], content=b"one chunk")
        await world.deliver()
        assert only_result(world).reason == Reason.STORAGE_FAILED
        assert agent.spool == {}
        assert list((world.folder / "partial").glob("*.part")) == []

    play(scene)


def test_capture_does_not_start_before_its_request_is_stored(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.deliver()
        world.objects.waits_below = "requests/"
        asking = asyncio.create_task(world.ask())
        await asyncio.sleep(0)
        agent.cut()
        agent.connect()
        await world.exchange()
        world.engine.tick()
        await world.exchange()
        assert agent.begun == []
        world.objects.gate.set()
        await asking
        assert len(agent.begun) == 1

    play(scene)


def test_deadline_does_not_end_an_artifact_that_is_being_stored(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask(execution={"active_deadline_seconds": 20})
        world.objects.waits_below = "artifacts/"
        agent.finish(agent.begun[0])
        while not world.objects.at_gate.is_set():
            await world.exchange()
        world.now_ms += 60_000
        world.engine.tick()
        await world.engine.cancel("r1", CancelMode.ABORT)
        await asyncio.sleep(0.01)
        assert only_result(world).phase is Phase.RUNNING
        world.objects.gate.set()
        await world.deliver()
        assert only_result(world).phase is Phase.SUCCEEDED
        assert len(world.store) == 1
        assert world.get().phase is RequestPhase.CANCELLED

    play(scene)


def test_agent_keeps_the_outcome_until_the_record_is_stored(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask()
        world.objects.problem, world.objects.fails_on = FULL, "put"
        agent.fail(agent.begun[0], "NodeError", "HTTP 500")
        await world.deliver()
        assert only_result(world).phase is Phase.FAILED
        assert list(agent.spool) == [agent.begun[0]]
        agent.cut()
        agent.connect()
        await world.deliver()
        assert list(agent.spool) == [agent.begun[0]]
        world.objects.problem = None
        await world.pass_time(1)
        assert agent.spool == {}

    play(scene)


@pytest.mark.parametrize("operation", range(1, 9))
def test_death_before_any_storage_operation_leaves_no_half_artifact(play, operation):
    """Kill the proxy before its n-th storage operation, start it again: all is true again."""

    async def scene(world):
        agent = world.agent("pod-0")
        await world.deliver()
        world.objects.operations, world.objects.dies_at = 0, operation
        accepted = True
        try:
            await world.ask()
        except StorageError:
            accepted = False
        for command_id in agent.running:
            agent.finish(command_id)
        await world.deliver()
        world.objects.dies_at = 0
        await world.restart_proxy()
        for stored in world.store.select():
            content = artifact_bytes(stored.manifest.command_id)
            path = world.folder / "store" / stored.key
            assert path.read_bytes() == content
        await world.settle()
        if not accepted:
            assert world.engine.select() == ()
            return
        assert world.get().phase in {RequestPhase.SUCCEEDED, RequestPhase.FAILED}
        assert (len(world.store) == 1) == (world.get().phase is RequestPhase.SUCCEEDED)
        assert len(agent.begun) == 1
        assert agent.spool == {}
        assert [p for p in (world.folder / "store").rglob("*") if "incoming/" in str(p)] == []

    play(scene)
