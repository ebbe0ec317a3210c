# SPDX-License-Identifier: Apache-2.0
"""Cancelled, refused, deleted, expired: a request ends truly and is gone when its time is over."""

import pytest

from tests.operator.diagnostics.scene import Play, Scene


@pytest.mark.parametrize(
    ("mode", "reason"), [("Stop", "Cancelled"), ("Abort", "Aborted")], ids=["stop", "abort"]
)
def test_a_cancel_reaches_the_agent_and_the_status(play: Play, mode: str, reason: str):
    async def scene(s: Scene, url: str):
        agent = s.agent("pod-0")
        s.apply()
        await s.until_phase("Running")
        s.change(cancel=mode)
        await s.until_phase("Cancelled")
        assert [str(sent.name).capitalize() for _, sent in agent.cancels] == [mode]
        assert s.status()["reason"] == reason
        assert s.conditions()["Succeeded"] == ("False", mode)
        # K20: one that turns true at every end.
        assert s.conditions()["Finished"] == ("True", "Cancelled")
        assert s.status()["observedGeneration"] == 2
        await s.until("its event", lambda: ("Normal", "Cancelled") in s.events())

    play(scene)


def test_stop_becomes_abort(play: Play):
    async def scene(s: Scene, url: str):
        agent = s.agent("pod-0")
        agent.obeys_cancel = False
        s.apply()
        await s.until_phase("Running")
        s.change(cancel="Stop")
        await s.until("stop is sent", lambda: len(agent.cancels) == 1)
        s.change(cancel="Abort")
        await s.until("abort is sent", lambda: len(agent.cancels) == 2)
        await s.turn(20)
        await s.until_phase("Cancelled")
        assert s.conditions()["Succeeded"] == ("False", "Abort")

    play(scene)


def test_a_request_that_is_born_cancelled_never_begins(play: Play):
    async def scene(s: Scene, url: str):
        agent = s.agent("pod-0")
        s.apply(cancel="Abort")
        await s.until_phase("Cancelled")
        assert s.status()["message"] == "ended on request before it began"
        assert agent.begun == []
        assert s.world.engine.select() == ()

    play(scene)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"captures": [{"type": "Video"}]},
            (
                "spec.captures[0].type must be one of CPUProfile, HeapSnapshot, "
                "AllocationProfile, GoroutineDump, BlockProfile, MutexProfile, "
                "ThreadCreateProfile, ExecutionTrace, Window, Config, OnCPUProfile, OffCPUProfile, "
                "ReadLatency, BlockLatency, or a kind that the node offers, got 'Video'"
            ),
        ),
        ({"target": {}}, "spec.target is empty: give names, roles, tiers or selector"),
        ({"hurry": True}, "spec.hurry is unknown; has: target, captures, execution, cancel"),
    ],
    ids=["type", "target", "unknown"],
)
def test_a_spec_that_cannot_be_is_rejected_and_the_field_named(
    play: Play, spec: dict, message: str
):
    async def scene(s: Scene, url: str):
        s.apply(**spec)
        await s.until_phase("Rejected")
        assert s.status()["message"].startswith(message)
        assert s.conditions() == {
            "Accepted": ("False", "BadRequest"),
            "TargetsResolved": ("Unknown", "Waiting"),
            "Started": ("False", "Waiting"),
            "Finished": ("True", "Rejected"),
            "Succeeded": ("False", "BadRequest"),
        }
        await s.until("its event", lambda: s.events() == [("Warning", "Rejected")])

    play(scene)


def test_more_nodes_than_a_request_may_have_are_rejected(play: Play):
    async def scene(s: Scene, url: str):
        for pod in ("pod-0", "pod-1", "pod-2"):
            s.agent(pod)
        s.apply()
        await s.until_phase("Rejected")
        assert s.status()["message"] == (
            "spec.target matches 3 nodes, at most 2 are allowed in one request"
        )

    play(scene, max_targets=2)


def test_a_failed_capture_fails_the_request(play: Play):
    async def scene(s: Scene, url: str):
        agent = s.agent("pod-0")
        s.apply(execution={"backoffLimit": 0})
        await s.until("a capture runs", lambda: agent.running)
        agent.fail(agent.running[0], "NodeError", "the node answered 500")
        await s.until_phase("Failed")
        (target,) = s.status()["targets"]
        assert (target["reason"], target["message"]) == ("NodeError", "the node answered 500")
        assert s.conditions()["Succeeded"] == ("False", "AllTargetsFailed")
        await s.until("its event", lambda: ("Warning", "Failed") in s.events())

    play(scene)


def test_deleting_a_running_request_aborts_its_captures(play: Play):
    async def scene(s: Scene, url: str):
        agent = s.agent("pod-0")
        s.apply()
        await s.until_phase("Running")
        s.delete()
        await s.until("it is aborted", lambda: agent.cancels)

    play(scene)


def test_an_object_that_somebody_else_holds_while_it_is_deleted_counts_as_gone(play: Play):
    async def scene(s: Scene, url: str):
        agent = s.agent("pod-0")
        s.apply()
        await s.until_phase("Running")
        s.body()["metadata"]["finalizers"] = ["example.org/held"]
        s.delete()
        await s.until("it is aborted", lambda: agent.cancels)
        writes = s.writes()
        await s.controller.resync()
        assert s.exists()
        assert s.writes() == writes

    play(scene)


# ---- time is over -----------------------------------------------------------------------------


def test_a_request_is_deleted_when_its_time_is_over(play: Play):
    async def scene(s: Scene, url: str):
        s.agent("pod-0")
        s.apply(ttlSecondsAfterFinished=600)
        await s.finish("pod-0")
        await s.until_phase("Succeeded")
        await s.turn(590)
        assert s.exists()
        await s.turn(20)
        await s.until("it is gone", lambda: not s.exists())
        # What was captured has its own life.
        assert len(s.world.store.by_command()) == 1

    play(scene)


def test_a_later_ttl_moves_the_end(play: Play):
    async def scene(s: Scene, url: str):
        s.agent("pod-0")
        s.apply(ttlSecondsAfterFinished=600)
        await s.finish("pod-0")
        await s.until_phase("Succeeded")
        before = s.status()["expirationTime"]
        s.change(ttlSecondsAfterFinished=3600)
        await s.until("the end is moved", lambda: s.status()["expirationTime"] != before)
        assert s.status()["observedGeneration"] == 2
        assert s.conditions()["Succeeded"] == ("True", "Succeeded")
        await s.turn(650)
        await s.controller.resync()
        assert s.exists()
        await s.turn(3000)
        await s.until("it is gone", lambda: not s.exists())

    play(scene)


def test_an_operator_that_was_away_deletes_what_is_over(play: Play):
    async def scene(s: Scene, url: str):
        s.agent("pod-0")
        s.apply(ttlSecondsAfterFinished=60)
        await s.finish("pod-0")
        await s.until_phase("Succeeded")
        await s.stop()
        s.world.turned_ms += 120_000
        await s.restart(url)
        await s.until("it is gone", lambda: not s.exists())

    play(scene)


def test_an_object_that_changed_in_the_last_moment_is_not_deleted(play: Play):
    async def scene(s: Scene, url: str):
        s.agent("pod-0")
        s.apply(ttlSecondsAfterFinished=60)
        await s.finish("pod-0")
        await s.until_phase("Succeeded")
        s.api.fail(409, "DELETE", "/one", reason="Conflict")
        await s.turn(70)
        await s.until("it tried", lambda: s.api.count("DELETE", "/one") >= 1)
        s.change(ttlSecondsAfterFinished=3600)
        await s.until("it goes on", lambda: s.status()["observedGeneration"] == 2)
        assert s.exists()

    play(scene)
