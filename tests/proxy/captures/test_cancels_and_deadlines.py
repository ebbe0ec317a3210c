# SPDX-License-Identifier: Apache-2.0
"""Ending early, by people or by time, at each phase of a request."""

import pytest

from fodc_api.words import CancelMode, Phase, RequestPhase
from fodc_protocol.link import frames

from .world import artifact_bytes


def only_result(world, request_id="r1"):
    (target,) = world.get(request_id).targets
    (result,) = target.results
    return result


# ---- cancel -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", CancelMode)
def test_cancel_ends_a_queued_request_at_once(play, mode):
    async def scene(world):
        world.agent("pod-0")
        await world.ask("r1", captures=[{"profile": "cpu"}])
        await world.ask("r2", captures=[{"profile": "cpu"}])
        request = await world.engine.cancel("r2", mode)
        assert (request.phase, request.finished_at_ms) == (RequestPhase.CANCELLED, world.now_ms)
        assert only_result(world, "r2").phase is Phase.CANCELLED
        assert world.get("r1").phase is RequestPhase.RUNNING

    play(scene)


def test_stop_keeps_what_the_agent_has_recorded(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask(captures=[{"profile": "cpu"}, {"profile": "heap"}])
        request = await world.engine.cancel("r1", CancelMode.STOP)
        assert request.phase is RequestPhase.FINALIZING
        await world.deliver()
        assert agent.cancels == [(agent.begun[0], frames.CancelMode.STOP)]
        request = world.get()
        kept, never = request.targets[0].results
        assert (kept.phase, kept.truncated, kept.warnings) == (
            Phase.SUCCEEDED,
            True,
            ("a warning",),
        )
        assert (never.phase, never.attempt) == (Phase.CANCELLED, 0)
        assert (request.phase, request.reason) == (RequestPhase.CANCELLED, "Cancelled")
        assert request.message == "stopped on request; 1 of 2 captures are kept"

    play(scene)


def test_abort_discards_what_runs_and_keeps_what_was_complete(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask(captures=[{"profile": "heap"}, {"profile": "cpu"}])
        agent.finish(agent.begun[0])
        await world.deliver()
        await world.engine.cancel("r1", CancelMode.ABORT)
        await world.deliver()
        request = world.get()
        assert [r.phase for r in request.targets[0].results] == [Phase.SUCCEEDED, Phase.CANCELLED]
        assert (request.phase, request.reason) == (RequestPhase.CANCELLED, "Aborted")
        assert len(world.store) == 1

    play(scene)


def test_abort_during_the_transfer_discards_the_bytes(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask()
        agent.finish(agent.begun[0])
        agent.deliver_to_proxy()
        await world.engine.settled()
        agent.deliver_to_agent()
        agent.deliver_to_proxy()
        await world.engine.settled()
        assert only_result(world).received_bytes == 100
        assert world.get().phase is RequestPhase.FINALIZING
        # The other chunks are not on the wire yet.
        agent.to_proxy.clear()
        await world.engine.cancel("r1", CancelMode.ABORT)
        await world.deliver()
        assert only_result(world).phase is Phase.CANCELLED
        assert world.store.select() == ()
        assert list((world.folder / "partial").glob("*.part")) == []
        assert agent.spool == {}

    play(scene)


def test_stop_may_be_hardened_to_abort_and_not_softened(play):
    async def scene(world):
        agent = world.agent("pod-0")
        agent.obeys_cancel = False
        await world.ask()
        for mode in (CancelMode.STOP, CancelMode.ABORT, CancelMode.STOP):
            await world.engine.cancel("r1", mode)
            await world.deliver()
        assert [mode for _, mode in agent.cancels] == [
            frames.CancelMode.STOP,
            frames.CancelMode.ABORT,
        ]
        assert world.get().cancel is CancelMode.ABORT

    play(scene)


def test_cancel_that_no_agent_confirms_ends_after_the_grace(play):
    async def scene(world):
        agent = world.agent("pod-0")
        agent.obeys_cancel = False
        await world.ask()
        await world.engine.cancel("r1", CancelMode.ABORT)
        await world.pass_time(14)
        assert world.get().phase is RequestPhase.FINALIZING
        await world.pass_time(1)
        assert world.get().phase is RequestPhase.CANCELLED
        assert only_result(world).message == "the agent did not confirm the end within 15 s"

    play(scene)


def test_grace_does_not_end_the_transfer_of_what_was_kept(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask()
        await world.engine.cancel("r1", CancelMode.STOP)
        await world.engine.settled()
        agent.deliver_to_agent()
        while agent.to_proxy:
            agent.deliver_to_proxy()
        await world.engine.settled()
        assert world.get().phase is RequestPhase.FINALIZING
        world.now_ms += 20_000
        world.engine.tick()
        await world.engine.settled()
        assert only_result(world).phase is Phase.RUNNING
        await world.deliver()
        assert only_result(world).phase is Phase.SUCCEEDED

    play(scene)


def test_cancel_reaches_an_agent_that_returns_within_the_grace(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask()
        agent.cut()
        await world.engine.cancel("r1", CancelMode.STOP)
        await world.pass_time(5)
        agent.connect()
        await world.deliver()
        assert agent.cancels == [(agent.begun[0], frames.CancelMode.STOP)]
        assert only_result(world).phase is Phase.SUCCEEDED

    play(scene)


def test_cancel_of_an_ended_request_changes_nothing(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask()
        agent.finish(agent.begun[0])
        await world.deliver()
        before = world.get()
        assert await world.engine.cancel("r1", CancelMode.ABORT) == before

    play(scene)


# ---- deadlines ----------------------------------------------------------------------------------


def test_start_deadline_fails_a_request_whose_agents_never_come(play):
    async def scene(world):
        world.node("pod-0", online=False)
        await world.ask(target={"all": True, "include_offline": True})
        await world.pass_time(299)
        assert world.get().phase is RequestPhase.QUEUED
        await world.pass_time(1)
        request = world.get()
        assert (request.phase, request.reason) == (RequestPhase.FAILED, "StartDeadlineExceeded")
        assert "waits for the agent of pod-0 to connect" in request.message

    play(scene)


def test_target_timeout_is_its_duration_and_the_slack(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask(captures=[{"profile": "cpu", "duration_seconds": 10}])
        assert agent.commands[agent.begun[0]].timeout_ms == 40_000
        await world.pass_time(39)
        assert only_result(world).phase is Phase.RUNNING
        await world.pass_time(1)
        result = only_result(world)
        assert (result.phase, result.reason) == (Phase.FAILED, "DeadlineExceeded")
        assert result.message == "the capture was accepted when the deadline passed"
        assert agent.cancels[-1][1] is frames.CancelMode.ABORT

    play(scene)


def test_target_timeout_tells_that_the_agent_was_away(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask()
        agent.cut()
        await world.pass_time(31)
        assert only_result(world).message == (
            "the agent was not connected when the deadline passed"
        )

    play(scene)


def test_target_timeout_tells_how_many_bytes_had_come(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask()
        agent.finish(agent.begun[0])
        agent.deliver_to_proxy()
        await world.engine.settled()
        agent.deliver_to_agent()
        agent.deliver_to_proxy()
        await world.engine.settled()
        agent.to_proxy.clear()
        agent.to_agent.clear()
        await world.pass_time(31)
        size = len(artifact_bytes(agent.begun[0]))
        assert only_result(world).message == (
            f"100 of {size} bytes had arrived when the deadline passed"
        )

    play(scene)


def test_active_deadline_ends_what_runs_and_what_waits(play):
    async def scene(world):
        agent = world.agent("pod-0")
        world.agent("pod-1")
        await world.ask(execution={"active_deadline_seconds": 20, "parallelism": 1})
        await world.pass_time(19)
        assert world.get().phase is RequestPhase.RUNNING
        await world.pass_time(1)
        request = world.get()
        assert (request.phase, request.reason) == (RequestPhase.FAILED, "DeadlineExceeded")
        assert agent.cancels[-1][1] is frames.CancelMode.ABORT
        assert "passed before it began" in request.targets[1].message

    play(scene)


def test_active_deadline_during_a_retry_pause_tells_the_last_failure(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask(execution={"active_deadline_seconds": 1})
        agent.fail(agent.begun[0], "NodeUnreachable", "connection refused")
        await world.deliver()
        world.now_ms += 1000
        world.engine.tick()
        result = only_result(world)
        assert result.reason == "DeadlineExceeded"
        assert result.message.endswith("connection refused")

    play(scene)


def test_retry_uses_only_the_time_that_the_request_has_left(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask(execution={"active_deadline_seconds": 12})
        agent.fail(agent.begun[0], "NodeUnreachable")
        await world.deliver()
        await world.pass_time(10)
        assert agent.commands[agent.begun[1]].timeout_ms == 2000

    play(scene)


def test_finished_requests_are_forgotten_by_number_and_age(play):
    async def scene(world):
        for n in range(4):
            await world.ask(f"r{n}", target={"names": ["nobody"]})
            world.now_ms += 1
        await world.pass_time(1)
        assert [request.id for request in world.engine.select()] == ["r3", "r2"]
        assert sorted(p.name for p in (world.folder / "store/requests").iterdir()) == [
            "r2.json",
            "r3.json",
        ]
        await world.pass_time(10)
        assert world.engine.select() == ()

    play(scene, kept_finished=2, finished_ttl_ms=5000)
