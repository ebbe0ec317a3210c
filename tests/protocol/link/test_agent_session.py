# SPDX-License-Identifier: Apache-2.0
"""The agent's session alone: greeting, heartbeats, silence, refusals, events and credit."""

from fodc_protocol.ids import own_command_id
from fodc_protocol.link import effects, frames
from fodc_protocol.link.agent_side import MAX_UNASKED, AgentSession, Phase
from fodc_protocol.link.frames import CommandState

IDENTITY = frames.Identity("pod-0")
DATA = frames.NodeState("ROLE_DATA")
WELCOME = frames.Welcome(1, "id-1", 500, "0.1", "proxy-life", chunk_bytes=4)


def session() -> AgentSession:
    return AgentSession(
        identity=IDENTITY,
        state=DATA,
        agent_version="0.1",
        incarnation="life",
        heartbeat_interval_ms=1000,
    )


def linked(welcome: frames.Welcome = WELCOME) -> AgentSession:
    agent = session()
    agent.opened(0)
    agent.received(welcome, 0)
    return agent


def sent(asked: list[effects.AgentEffect]) -> list[frames.AgentFrame]:
    return [effect.frame for effect in asked if isinstance(effect, effects.SendAgentFrame)]


def test_an_agent_greets_first_with_all_that_the_proxy_needs() -> None:
    hello = frames.Hello(1, 1, "0.1", IDENTITY, "life", DATA, ())

    assert session().opened(0) == [effects.SendAgentFrame(hello)]


def test_the_announced_interval_overrides_the_agents_own() -> None:
    agent = linked()

    assert sent(agent.tick(499)) == []
    assert sent(agent.tick(500)) == [frames.Heartbeat(1)]
    assert agent.next_wake_ms() == 1000


def test_an_announced_interval_of_zero_leaves_the_agents_own() -> None:
    agent = linked(frames.Welcome(1, "id-1", 0, "0.1", "p", 4))

    assert agent.heartbeat_interval_ms == 1000


def test_a_frame_before_welcome_ends_the_connection() -> None:
    agent = session()
    agent.opened(0)

    asked = agent.received(frames.MetricsQuery(1), 1)

    assert asked == [effects.Hangup("PeerViolation", "MetricsQuery before Welcome")]


def test_w52_a_proxy_that_never_welcomes_is_left_after_ten_seconds() -> None:
    agent = session()
    agent.opened(0)

    assert agent.next_wake_ms() == 10_001
    assert agent.tick(10_000) == []
    assert agent.tick(10_001) == [effects.Hangup("ProxySilent", "nothing heard for 10000 ms")]


def test_w15_a_proxy_that_stops_acknowledging_is_left_after_three_intervals() -> None:
    agent = linked()
    agent.tick(500)
    agent.received(frames.HeartbeatAck(1), 600)

    assert isinstance(agent.tick(1200)[0], effects.SendAgentFrame)
    assert agent.tick(2101) == [effects.Hangup("ProxySilent", "nothing heard for 1500 ms")]


def test_a_refusal_hangs_up_and_keeps_the_pause_that_was_asked_for() -> None:
    agent = session()
    agent.opened(0)

    asked = agent.received(frames.Refusal("TooManyAgents", "1000 of 1000", 30_000), 5)

    assert asked == [effects.Hangup("TooManyAgents", "1000 of 1000", 30_000)]


def test_frames_after_a_cut_are_ignored() -> None:
    agent = linked()
    agent.cut()

    assert agent.phase is Phase.CUT
    assert agent.received(frames.MetricsQuery(1), 1) == []
    assert agent.tick(99_999) == []
    assert agent.next_wake_ms() is None


def test_a_role_that_changes_is_told_at_once() -> None:
    agent = linked()

    asked = agent.state_changed(frames.NodeState("ROLE_LIAISON"), 100)

    assert sent(asked) == [frames.Heartbeat(1, frames.NodeState("ROLE_LIAISON"))]


def test_figures_ride_on_the_next_heartbeat() -> None:
    agent = linked()
    grown = frames.NodeState("ROLE_DATA", window=frames.WindowExtent(0, 9, 1, 100))

    assert agent.state_changed(grown, 100) == []
    assert sent(agent.tick(500)) == [frames.Heartbeat(1, grown)]
    assert sent(agent.tick(1000)) == [frames.Heartbeat(2, None)]


def test_heartbeats_fall_into_step_with_what_the_agent_is_awake_for() -> None:
    agent = linked()

    assert sent(agent.awake(180)) == [frames.Heartbeat(1)]
    assert sent(agent.tick(500)) == []
    assert agent.next_wake_ms() == 680
    assert sent(agent.awake(670)) == [frames.Heartbeat(2)]
    assert sent(agent.awake(900)) == [], "more than a quarter of the interval is left"
    assert sent(agent.tick(1170)) == [frames.Heartbeat(3)]


def test_nothing_is_sent_before_the_welcome_because_the_agent_is_awake() -> None:
    agent = session()
    agent.opened(0)

    assert agent.awake(100) == []


def happened(agent: AgentSession, message: str) -> frames.Event:
    event = agent.events.add("crash", message, {"crash": "one"}, 1)
    assert event is not None
    agent.happened(event)
    return event


def test_events_are_sent_again_after_a_cut_until_they_are_acknowledged() -> None:
    agent = linked()
    happened(agent, "panic")
    second = happened(agent, "again")
    assert agent.received(frames.EventAck(1, "life"), 3) == [effects.EventsTaken()]
    assert agent.received(frames.EventAck(1, "life"), 3) == []
    agent.cut()
    third = happened(agent, "while nobody listens")

    agent.opened(4)
    again = sent(agent.received(WELCOME, 5))

    assert again == [second, third]


def test_a_capture_of_the_agents_own_is_told_when_the_proxy_asks_for_it() -> None:
    own = own_command_id("life", 1, "heap")
    agent = linked()
    agent.begun(own)
    captured = frames.CommandUpdate(own, CommandState.CAPTURED)
    assert agent.noted(captured) == []

    asked = agent.received(frames.StartCapture(own, "heap", 0, 1000), 7)
    assert sent(asked) == [captured]
    assert agent.received(frames.ArtifactAck(own, 0, 0, done=True), 8) == [effects.Forget(own)]


def test_an_own_capture_that_had_to_make_room_is_not_taken_anew() -> None:
    own = own_command_id("life", 1, "heap")
    agent = linked()
    agent.begun(own)
    agent.forgotten(own)

    (told,) = sent(agent.received(frames.StartCapture(own, "heap", 0, 1000), 7))
    assert isinstance(told, frames.CommandUpdate)
    assert (told.state, told.reason) == (CommandState.FAILED, "NotFound")


def test_of_own_captures_that_nobody_asks_for_the_newest_are_held() -> None:
    agent = session()
    for number in range(MAX_UNASKED + 5):
        agent.begun(own_command_id("life", number, "window"))

    held = agent.held_command_ids()

    assert len(held) == MAX_UNASKED
    assert held[-1] == own_command_id("life", MAX_UNASKED + 4, "window")
    (hello,) = sent(agent.opened(0))
    assert isinstance(hello, frames.Hello)
    assert hello.held_command_ids == held


def test_an_agent_never_sends_beyond_its_credit() -> None:
    agent = linked()
    agent.received(frames.StartCapture("c", "cpu", 1, 1), 1)
    agent.noted(
        frames.CommandUpdate(
            "c", CommandState.CAPTURED, artifact=frames.Artifact("cpu", "pprof", 100, "ab", 1, 0, 1)
        )
    )

    first = agent.received(frames.ArtifactAck("c", 0, 10), 2)
    second = agent.received(frames.ArtifactAck("c", 4, 10), 3)

    assert first == [
        effects.SendChunk("c", 0, 4),
        effects.SendChunk("c", 4, 4),
        effects.SendChunk("c", 8, 2),
    ]
    assert second == [effects.SendChunk("c", 10, 4)]


def test_an_ack_that_repeats_the_last_asks_for_the_bytes_again() -> None:
    agent = linked()
    agent.received(frames.StartCapture("c", "cpu", 1, 1), 1)
    agent.noted(
        frames.CommandUpdate(
            "c", CommandState.CAPTURED, artifact=frames.Artifact("cpu", "pprof", 6, "ab", 1, 0, 1)
        )
    )
    agent.received(frames.ArtifactAck("c", 0, 10), 2)

    again = agent.received(frames.ArtifactAck("c", 0, 10), 3)

    assert again == [effects.SendChunk("c", 0, 4), effects.SendChunk("c", 4, 2)]


def test_the_same_command_twice_reports_instead_of_capturing_again() -> None:
    agent = linked()
    command = frames.StartCapture("c", "heap", 0, 1000)
    agent.received(command, 1)
    agent.noted(frames.CommandUpdate("c", CommandState.FAILED, "EmptyProfile", "no samples"))

    asked = agent.received(command, 2)

    assert sent(asked) == [
        frames.CommandUpdate("c", CommandState.FAILED, "EmptyProfile", "no samples")
    ]
