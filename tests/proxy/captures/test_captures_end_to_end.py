# SPDX-License-Identifier: Apache-2.0
"""From a request to stored artifacts, against agents over frames."""

import hashlib
import json
import zlib

import pytest

from fodc_api.words import Phase, RequestPhase
from fodc_protocol.link import frames
from fodc_protocol.link.frames import CommandState
from fodc_proxy.captures.targeting import Ability

from .world import START_MS, artifact_bytes


async def stored_bytes(world, artifact_id: str) -> bytes:
    stored = world.store.find(artifact_id)
    blocks = [b async for b in world.store.stream(stored, 0, stored.manifest.size_bytes)]
    return b"".join(blocks)


def only_result(world):
    (target,) = world.get().targets
    (result,) = target.results
    return result


def test_request_succeeds_when_every_agent_captures(play):
    async def scene(world):
        world.agent("pod-0")
        world.agent("pod-1")
        request = await world.ask(captures=[{"profile": "heap"}, {"profile": "goroutine"}])
        assert request.phase is RequestPhase.RUNNING
        await world.settle()
        request = world.get()
        assert (request.phase, request.reason) == (RequestPhase.SUCCEEDED, "")
        assert request.message == "all 4 captures succeeded"
        for target in request.targets:
            assert (target.phase, target.attempts) == (Phase.SUCCEEDED, 2)
            for result in target.results:
                manifest = world.store.find(result.artifact_id).manifest
                content = artifact_bytes(manifest.command_id)
                assert await stored_bytes(world, result.artifact_id) == content
                assert result.sha256 == hashlib.sha256(content).hexdigest()
                assert result.received_bytes == result.size_bytes == len(content)
        assert all(agent.spool == {} for agent in world.agents.values())
        assert list((world.folder / "partial").glob("*.part")) == []
        record = json.loads((world.folder / "store/requests/r1.json").read_bytes())
        assert record["request"]["phase"] == "Succeeded"

    play(scene)


def test_captures_of_one_target_run_one_after_the_other(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask(captures=[{"profile": "cpu"}, {"profile": "heap"}])
        assert [agent.commands[c].profile for c in agent.begun] == ["cpu"]
        agent.finish(agent.begun[0])
        await world.deliver()
        assert [agent.commands[c].profile for c in agent.begun] == ["cpu", "heap"]

    play(scene)


def test_parallelism_limits_the_targets_that_run_at_a_time(play):
    async def scene(world):
        agents = [world.agent(f"pod-{n}") for n in range(5)]
        await world.ask(execution={"parallelism": 2})
        assert [len(agent.begun) for agent in agents] == [1, 1, 0, 0, 0]
        agents[1].finish(agents[1].begun[0])
        await world.deliver()
        assert [len(agent.begun) for agent in agents] == [1, 1, 1, 0, 0]

    play(scene)


def test_global_limit_queues_a_request_that_could_otherwise_start(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask("r1", captures=[{"profile": "heap"}])
        queued = await world.ask("r2", captures=[{"profile": "heap"}])
        assert (queued.phase, queued.reason) == (RequestPhase.QUEUED, "Busy")
        agent.finish(agent.begun[0])
        await world.deliver()
        assert world.get("r2").phase is RequestPhase.RUNNING

    play(scene, max_running_captures=1)


def test_second_request_waits_for_the_cpu_profiler_of_the_pod(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask("r1", captures=[{"profile": "cpu"}])
        queued = await world.ask("r2", captures=[{"profile": "cpu"}])
        assert (queued.phase, queued.reason) == (RequestPhase.QUEUED, "ProfilerBusy")
        assert queued.message == "ProfilerBusy: another cpu capture runs on pod-0"
        other = await world.ask("r3", captures=[{"profile": "trace"}])
        assert other.phase is RequestPhase.RUNNING
        agent.finish(agent.begun[0])
        await world.deliver()
        assert world.get("r2").phase is RequestPhase.RUNNING

    play(scene)


def test_second_request_fails_with_the_reason_when_the_profiler_stays_busy(play):
    async def scene(world):
        world.agent("pod-0")
        await world.ask("r1", captures=[{"profile": "cpu", "duration_seconds": 120}])
        await world.ask(
            "r2", captures=[{"profile": "cpu"}], execution={"start_deadline_seconds": 20}
        )
        await world.pass_time(19)
        assert world.get("r2").phase is RequestPhase.QUEUED
        await world.pass_time(1)
        request = world.get("r2")
        assert (request.phase, request.reason) == (RequestPhase.FAILED, "StartDeadlineExceeded")
        assert "another cpu capture runs on pod-0" in request.message
        assert request.started_at_ms is None

    play(scene)


def test_other_capture_of_the_target_goes_first_while_the_profiler_is_busy(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask("r1", captures=[{"profile": "cpu"}])
        await world.ask("r2", captures=[{"profile": "cpu"}, {"profile": "heap"}])
        assert [agent.commands[c].profile for c in agent.begun] == ["cpu", "heap"]

    play(scene)


def test_empty_profile_is_a_failure_that_keeps_its_bytes(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask()
        agent.finish(agent.begun[0], samples=0)
        await world.deliver()
        result = only_result(world)
        assert (result.phase, result.reason, result.empty) == (Phase.FAILED, "EmptyProfile", True)
        assert world.store.find(result.artifact_id).manifest.empty
        assert world.get().phase is RequestPhase.FAILED

    play(scene)


def test_artifact_without_a_byte_is_empty_and_a_failure(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask()
        agent.finish(agent.begun[0], content=b"")
        await world.deliver()
        assert (only_result(world).phase, only_result(world).reason) == (
            Phase.FAILED,
            "EmptyProfile",
        )
        assert agent.spool == {}

    play(scene)


def test_transient_failure_is_repeated_until_the_backoff_limit(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask(execution={"backoff_limit": 1})
        agent.fail(agent.begun[0], "NodeUnreachable", "connection refused")
        await world.deliver()
        assert only_result(world).phase is Phase.PENDING
        assert only_result(world).message == "connection refused"
        await world.pass_time(0.5)
        assert len(agent.begun) == 1
        await world.pass_time(0.5)
        assert len(agent.begun) == 2
        agent.fail(agent.begun[1], "NodeUnreachable", "still refused")
        await world.deliver()
        result = only_result(world)
        assert (result.phase, result.reason, result.attempt) == (
            Phase.FAILED,
            "NodeUnreachable",
            2,
        )
        assert world.get().reason == "AllTargetsFailed"
        assert len(set(agent.begun)) == 2

    play(scene)


def test_permanent_failure_is_not_repeated(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask(execution={"backoff_limit": 3})
        agent.fail(agent.begun[0], "NodeError", "HTTP 404")
        await world.deliver()
        await world.pass_time(60)
        assert len(agent.begun) == 1
        assert (only_result(world).reason, only_result(world).message) == ("NodeError", "HTTP 404")

    play(scene)


def test_some_success_is_partial_and_tells_what_failed(play):
    async def scene(world):
        good, bad = world.agent("pod-0"), world.agent("pod-1")
        world.node("pod-2", online=False)
        await world.ask()
        good.finish(good.begun[0])
        bad.fail(bad.begun[0], "NodeError", "HTTP 500")
        await world.deliver()
        request = world.get()
        assert request.phase is RequestPhase.PARTIALLY_SUCCEEDED
        assert request.message.startswith("1 of 3 captures succeeded; ")
        assert "1 NodeError" in request.message
        assert "1 Offline" in request.message

    play(scene)


def test_fail_fast_ends_the_others_with_the_cause(play):
    async def scene(world):
        agents = [world.agent(f"pod-{n}") for n in range(3)]
        await world.ask(execution={"failure_policy": "FailFast", "parallelism": 2})
        agents[0].fail(agents[0].begun[0], "NodeError", "HTTP 500")
        await world.deliver()
        request = world.get()
        assert agents[1].cancels == [(agents[1].begun[0], frames.CancelMode.ABORT)]
        assert agents[2].begun == []
        assert [target.phase for target in request.targets] == [
            Phase.FAILED,
            Phase.CANCELLED,
            Phase.CANCELLED,
        ]
        assert "heap failed on pod-0 with NodeError" in request.targets[2].message
        assert (request.phase, request.reason) == (RequestPhase.FAILED, "AllTargetsFailed")

    play(scene)


def test_wrong_checksum_is_fetched_once_more_and_then_is_a_failure(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask(execution={"backoff_limit": 0})
        agent.finish(agent.begun[0], sha256="0" * 64)
        await world.deliver()
        result = only_result(world)
        assert (result.phase, result.reason) == (Phase.FAILED, "ChecksumMismatch")
        assert world.store.select() == ()
        assert list((world.folder / "partial").glob("*.part")) == []
        assert agent.spool == {}

    play(scene)


def test_artifact_beyond_the_limit_is_refused(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask()
        assert agent.commands[agent.begun[0]].max_bytes == 300
        agent.finish(agent.begun[0])
        await world.deliver()
        assert only_result(world).reason == "TooLarge"
        assert world.store.select() == ()

    play(scene, max_artifact_bytes=300)


def test_garbled_chunks_are_asked_for_again(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask()
        agent.garble = 2
        agent.finish(agent.begun[0])
        await world.deliver()
        assert only_result(world).phase is Phase.SUCCEEDED

    play(scene)


def test_frames_of_an_unknown_command_are_answered_and_change_nothing(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask()
        await world.deliver()
        before = world.get()
        running = frames.CommandUpdate("cmd-of-nobody", CommandState.RUNNING)
        world.engine.heard("pod-0", running)
        world.engine.heard("pod-0", frames.ArtifactChunk("cmd-of-nobody", 0, b"x", 1))
        await world.engine.settled()
        abort = frames.CancelCapture("cmd-of-nobody", frames.CancelMode.ABORT)
        done = frames.ArtifactAck("cmd-of-nobody", 0, 0, done=True)
        assert list(agent.to_agent) == [abort, done]
        assert world.get() == before

    play(scene)


def test_late_outcome_after_the_deadline_changes_nothing(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask(execution={"target_timeout_slack_seconds": 5})
        agent.obeys_cancel = False
        await world.pass_time(6)
        ended = world.get()
        assert (ended.phase, ended.reason) == (RequestPhase.FAILED, "DeadlineExceeded")
        agent.finish(agent.begun[0])
        await world.deliver()
        assert world.get() == ended
        assert world.store.select() == ()
        assert agent.spool == {}

    play(scene)


def test_flooding_agent_loses_its_commands_and_memory_stays_bounded(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask()
        content = bytes(8 * 1024 * 1024)
        agent.finish(agent.begun[0], content=content)
        agent.deliver_to_proxy()
        for at in range(0, len(content), 256 * 1024):
            data = content[at : at + 256 * 1024]
            chunk = frames.ArtifactChunk(agent.begun[0], at, data, zlib.crc32(data))
            world.engine.heard("pod-0", chunk)
            waiting = world.engine._lanes.waiting(f"command {agent.begun[0]}")
            assert waiting[1] <= 2 * 1024 * 1024
        await world.deliver()
        result = only_result(world)
        assert (result.phase, result.reason) == (Phase.FAILED, "ProtocolError")

    play(scene)


def test_active_captures_show_what_runs_on_a_pod(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask(captures=[{"profile": "cpu"}])
        (active,) = world.engine.active_captures("pod-0")
        assert (active.request_id, active.profile, active.started_at_ms) == ("r1", "cpu", START_MS)
        agent.finish(agent.begun[0])
        await world.deliver()
        assert world.engine.active_captures("pod-0") == ()

    play(scene)


@pytest.mark.parametrize("state", ["Unsupported", "Disabled"])
def test_capability_that_says_no_skips_the_capture_with_its_reason(play, state):
    async def scene(world):
        agent = world.agent("pod-0", abilities={"block": Ability(state, "RateZero", "no rate set")})
        await world.ask(captures=[{"profile": "block"}, {"profile": "heap"}])
        agent.finish(agent.begun[0])
        await world.deliver()
        request = world.get()
        skipped, taken = request.targets[0].results
        assert (skipped.phase, skipped.reason) == (Phase.SKIPPED, state)
        assert skipped.message == "no rate set (RateZero)"
        assert taken.phase is Phase.SUCCEEDED
        assert request.phase is RequestPhase.PARTIALLY_SUCCEEDED

    play(scene)


def test_agent_of_the_existing_contract_is_skipped_as_unsupported(play):
    async def scene(world):
        world.node("pod-0", captures_on_request=False)
        request = await world.ask()
        assert (request.phase, request.reason) == (RequestPhase.FAILED, "AllCapturesUnsupported")
        assert request.targets[0].reason == "Unsupported"
        assert "cannot capture on request" in request.targets[0].message

    play(scene)


def test_offline_node_is_waited_for_when_asked(play):
    async def scene(world):
        world.node("pod-0", online=False)
        skipped = await world.ask("r1")
        assert (skipped.phase, skipped.reason) == (RequestPhase.FAILED, "Offline")
        waiting = await world.ask("r2", target={"all": True, "include_offline": True})
        assert (waiting.phase, waiting.reason) == (RequestPhase.QUEUED, "Offline")
        agent = world.agent("pod-0")
        await world.deliver()
        assert len(agent.begun) == 1
        assert world.get("r2").phase is RequestPhase.RUNNING

    play(scene)


def test_no_node_at_all_fails_with_no_targets(play):
    async def scene(world):
        request = await world.ask()
        assert (request.phase, request.reason) == (RequestPhase.FAILED, "NoTargets")

    play(scene)


def test_equal_names_in_two_namespaces_are_captured_beside_each_other(play):
    """Each CPU profiler is its own, and so are commands, artifacts and what runs."""

    async def scene(world):
        twins = [world.agent("one/pod-0"), world.agent("two/pod-0")]
        await world.ask(captures=[{"profile": "cpu"}])
        assert [len(agent.running) for agent in twins] == [1, 1]
        assert [len(world.engine.active_captures(a.address)) for a in twins] == [1, 1]
        await world.settle()
        request = world.get()
        assert request.phase is RequestPhase.SUCCEEDED
        found = {t.node_id: world.store.find(t.results[0].artifact_id) for t in request.targets}
        assert {
            name: (one.manifest.node, one.manifest.pod, one.manifest.namespace)
            for name, one in found.items()
        } == {
            "one/pod-0": ("one/pod-0", "pod-0", "one"),
            "two/pod-0": ("two/pod-0", "pod-0", "two"),
        }
        assert len({one.manifest.artifact_id for one in found.values()}) == 2

    play(scene)


def test_one_of_two_equal_names_is_captured_over_a_restart(play):
    async def scene(world):
        one, other = world.agent("one/pod-0"), world.agent("two/pod-0")
        await world.ask(target={"names": ["two/pod-0"]}, captures=[{"profile": "cpu"}])
        await world.restart_proxy()
        for agent in (one, other):
            agent.connect()
        await world.settle()
        assert world.get().phase is RequestPhase.SUCCEEDED
        assert (len(one.begun), len(other.begun)) == (0, 1)
        for name in ("two/pod-0", "pod-0"):
            assert [r.id for r in world.engine.select(node_id=name)] == ["r1"]
        assert world.engine.select(node_id="one/pod-0") == ()

    play(scene)


def test_windows_of_a_request_are_one_cut_whenever_their_turn_comes(play):
    async def scene(world):
        first, second = world.agent("pod-0"), world.agent("pod-1")
        await world.ask(captures=[{"profile": "window"}], execution={"parallelism": 1})
        await world.settle()
        orders = [*first.commands.values(), *second.commands.values()]
        assert [(one.profile, one.end_ms, one.span_ms) for one in orders] == [
            ("window", START_MS, 0),
            ("window", START_MS, 0),
        ]

    play(scene)


def test_a_window_ends_where_it_was_asked_to_end(play):
    async def scene(world):
        agent = world.agent("pod-0")
        asked = {"profile": "window", "end": "2026-11-21T09:08:23Z", "span_seconds": 60}
        await world.ask(captures=[asked, {"profile": "config"}])
        await world.settle()
        assert [(one.end_ms, one.span_ms) for one in agent.commands.values()] == [
            (1_795_252_103_000, 60_000),
            (0, 0),
        ]

    play(scene)
