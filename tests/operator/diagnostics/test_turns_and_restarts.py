# SPDX-License-Identifier: Apache-2.0
"""Who may begin, and what a new operator makes of what an old one began."""

from tests.operator.diagnostics.scene import NAMESPACE, Pace, Play, Scene

ONE_AT_A_TIME = Pace(between_writes_ms=200, grace_ms=0, open_requests=1)


def test_a_second_request_waits_for_its_turn(play: Play):
    async def scene(s: Scene, url: str):
        s.agent("pod-0")
        s.apply("first")
        await s.until_phase("Running", "first")
        s.apply("second")
        await s.until_phase("Queued", "second")
        assert s.status("second")["message"] == "waits until one of the open requests ends"
        (waiting,) = [one for one in s.controller.samples() if "requests_waiting" in str(one)][:1]
        assert waiting.value == 1
        await s.finish("pod-0")
        await s.until_phase("Succeeded", "first")
        await s.finish("pod-0")
        await s.until_phase("Succeeded", "second")

    play(scene, ONE_AT_A_TIME)


def test_a_namespace_that_asks_for_much_does_not_keep_out_another(play: Play):
    # Room for two: the first of one namespace and the only one of the other.
    async def scene(s: Scene, url: str):
        s.agent("pod-0")
        s.agent("pod-9", "other")
        await s.stop()
        for name in ("b", "c", "d"):
            s.apply(name)
        s.apply("z", "other")
        await s.restart(url)
        for agent in s.agents.values():
            agent.connect()
        await s.until_phase("Running", "z", "other")
        await s.until_phase("Queued", "d")
        phases = sorted(s.phase(name) for name in "bcd")
        assert phases == ["Queued", "Queued", "Running"]

    play(scene, Pace(between_writes_ms=200, grace_ms=0, open_requests=2))


def test_a_request_that_cannot_begin_in_time_fails(play: Play):
    async def scene(s: Scene, url: str):
        s.agent("pod-0")
        s.apply("first", captures=[{"type": "CPUProfile", "durationSeconds": 120}])
        await s.until_phase("Running", "first")
        s.apply("second", execution={"startDeadlineSeconds": 30})
        await s.until_phase("Queued", "second")
        await s.turn(31)
        await s.until_phase("Failed", "second")
        assert s.status("second")["reason"] == "StartDeadlineExceeded"
        assert s.status("second")["message"] == (
            "nothing could start within 30 s of its creation: "
            "waits until one of the open requests ends"
        )

    play(scene, ONE_AT_A_TIME)


def test_a_waiting_request_is_cancelled_and_the_next_one_begins(play: Play):
    async def scene(s: Scene, url: str):
        s.agent("pod-0")
        for name in ("first", "second"):
            s.apply(name)
            await s.until(f"{name} is seen", lambda name=name: s.phase(name))
        s.change("second", cancel="Stop")
        await s.until_phase("Cancelled", "second")
        s.delete("first")
        await s.until("the first is aborted", lambda: s.agents["pod-0"].cancels)
        s.apply("third")
        await s.finish("pod-0")
        await s.until_phase("Succeeded", "third")

    play(scene, ONE_AT_A_TIME)


def test_a_proxy_that_has_enough_to_do_is_asked_again(play: Play):
    async def scene(s: Scene, url: str):
        s.agent("pod-0")
        await s.world.ask("by-hand", target={"names": ["pod-0"]})
        s.apply()
        await s.until_phase("Pending")
        assert s.status()["message"] == "1 requests are open, as many as are allowed"
        await s.finish("pod-0")
        await s.turn(5)
        await s.finish("pod-0")
        await s.until_phase("Succeeded")

    play(scene, max_open_requests=1)


# ---- restarts ---------------------------------------------------------------------------------


def test_a_new_operator_goes_on_with_a_running_capture(play: Play):
    async def scene(s: Scene, url: str):
        agent = s.agent("pod-0")
        s.apply()
        await s.until("it tells of the start", lambda: ("Normal", "Started") in s.events())
        await s.restart(url)
        agent.connect()
        await s.finish("pod-0")
        await s.until_phase("Succeeded")
        assert len(agent.begun) == 1
        assert s.status()["targets"][0]["attempts"] == 1
        assert s.events().count(("Normal", "Started")) == 1

    play(scene)


def test_an_end_that_nobody_could_write_is_written_by_the_next_operator(play: Play):
    async def scene(s: Scene, url: str):
        s.agent("pod-0")
        s.apply()
        await s.until_phase("Running")
        s.api.fail(503, "PATCH", "/status", times=1000)
        await s.finish("pod-0")
        await s.until("the proxy is done", lambda: s.world.engine.select()[0].phase.ended)
        await s.restart(url)
        s.api.faults.clear()
        await s.until_phase("Succeeded")

    play(scene)


def test_data_that_is_gone_is_told_as_it_is(play: Play):
    async def scene(s: Scene, url: str):
        agent = s.agent("pod-0")
        s.apply()
        await s.until_phase("Running")
        await s.restart(url, lose_data=True)
        await s.until_phase("Failed")
        assert s.status()["reason"] == "ProxyRestarted"
        assert s.conditions()["Succeeded"] == ("False", "ProxyRestarted")
        (target,) = s.status()["targets"]
        assert (target["phase"], target["reason"]) == ("Failed", "ProxyRestarted")
        assert s.status()["counts"] == {
            "targets": 1,
            "pending": 0,
            "running": 0,
            "succeeded": 0,
            "failed": 1,
            "skipped": 0,
            "cancelled": 0,
        }
        assert len(agent.begun) == 1

    play(scene)


def test_a_request_of_which_nothing_had_started_is_given_again_when_data_is_gone(play: Play):
    async def scene(s: Scene, url: str):
        agent = s.agent("pod-0")
        s.lose("pod-0")
        s.apply(target={"names": ["pod-0"], "includeOffline": True})
        await s.until("the proxy has it", lambda: s.status().get("requestID"))
        await s.restart(url, lose_data=True)
        agent.connect()
        await s.until("it is there again", s.world.engine.select)
        await s.finish("pod-0")
        await s.until_phase("Succeeded")

    play(scene)


def test_a_request_that_was_deleted_while_no_operator_ran_is_aborted(play: Play):
    async def scene(s: Scene, url: str):
        agent = s.agent("pod-0")
        s.apply()
        await s.until_phase("Running")
        await s.stop()
        s.delete()
        await s.restart(url)
        agent.connect()
        await s.until("it is aborted", lambda: agent.cancels)

    play(scene)


def test_a_request_by_hand_is_never_aborted(play: Play):
    async def scene(s: Scene, url: str):
        s.agent("pod-0")
        request = await s.world.ask("by-hand", target={"names": ["pod-0"]})
        await s.controller.resync()
        assert s.world.get(request.id).cancel is None

    play(scene)


def test_agents_that_were_there_are_waited_for_after_a_start(play: Play):
    async def scene(s: Scene, url: str):
        s.agent("pod-0")
        s.node("pod-1")
        s.apply()
        await s.until_phase("Pending")
        assert s.status()["message"] == ("waits for agents to connect again after a restart: pod-1")
        s.register("pod-1")
        s.agents["pod-1"] = s.world.agent(f"{NAMESPACE}/pod-1")
        await s.finish("pod-0")
        await s.finish("pod-1")
        await s.until_phase("Succeeded")
        assert s.status()["progress"] == "2/2"

    play(scene, Pace(between_writes_ms=200, grace_ms=60_000, grace_poll_ms=50))


def test_agents_are_waited_for_half_of_the_time_to_start_at_most(play: Play):
    async def scene(s: Scene, url: str):
        s.agent("pod-0")
        s.node("pod-1")
        s.apply(execution={"startDeadlineSeconds": 60})
        await s.until_phase("Pending")
        await s.turn(31)
        await s.finish("pod-0")
        await s.until_phase("PartiallySucceeded")

    play(scene, Pace(between_writes_ms=200, grace_ms=600_000, grace_poll_ms=50))


def test_an_agent_that_does_not_come_back_is_reported_as_skipped(play: Play):
    async def scene(s: Scene, url: str):
        s.agent("pod-0")
        s.node("pod-1")
        s.apply()
        await s.finish("pod-0")
        await s.until_phase("PartiallySucceeded")
        told = [(one["nodeName"], one["phase"], one.get("reason")) for one in s.status()["targets"]]
        assert told == [("pod-0", "Succeeded", None), ("pod-1", "Skipped", "Offline")]
        assert s.conditions()["Succeeded"] == ("True", "PartiallySucceeded")

    play(scene)


def test_nodes_of_another_namespace_are_neither_seen_nor_captured(play: Play):
    async def scene(s: Scene, url: str):
        agent = s.agent("pod-0", "other")
        s.apply(namespace=NAMESPACE)
        await s.until_phase("Failed")
        assert s.status()["reason"] == "NoTargets"
        assert agent.begun == []

    play(scene)
