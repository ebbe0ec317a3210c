# SPDX-License-Identifier: Apache-2.0
"""A command at the proxy's end: deadlines, restarts, damage, limits and unknown ids."""

import zlib

from fodc_protocol.link import effects, frames
from fodc_protocol.link.backoff import reconnect_delay_s
from fodc_protocol.link.frames import CommandState
from fodc_protocol.link.proxy_side import (
    MAX_REPAIRS,
    Command,
    agreed_protocol,
    answer_to_unknown,
    released,
)

COMMAND = frames.StartCapture("c", "cpu", 1000, 5000)
TEN_BYTES = frames.Artifact("cpu", "pprof", 10, "ab", 1, 0, 1)


def hello(incarnation: str = "life", held: tuple[str, ...] = ()) -> frames.Hello:
    return frames.Hello(
        1, 1, "0.1", frames.Identity("pod-0"), incarnation, frames.NodeState("ROLE_DATA"), held
    )


def linked(order: frames.StartCapture = COMMAND) -> Command:
    """A command whose agent is there."""
    command = Command(order, 0, credit_bytes=8)
    command.linked("life", 0)
    return command


def chunk(offset: int, data: bytes, crc32: int | None = None) -> frames.ArtifactChunk:
    return frames.ArtifactChunk("c", offset, data, zlib.crc32(data) if crc32 is None else crc32)


def ended(asked: list[effects.ProxyEffect]) -> list[tuple[CommandState, str]]:
    return [(e.state, e.reason) for e in asked if isinstance(e, effects.Ended)]


def sent(asked: list[effects.ProxyEffect]) -> list[frames.ProxyFrame]:
    return [e.frame for e in asked if isinstance(e, effects.SendProxyFrame)]


def test_a_command_waits_for_its_agent_and_is_sent_with_the_time_that_is_left() -> None:
    command = Command(COMMAND, 1000)

    assert sent(command.linked("life", 3000)) == [frames.StartCapture("c", "cpu", 1000, 3000)]


def test_a_command_past_its_deadline_ends_and_says_how_far_it_came() -> None:
    command = linked()
    command.received(frames.CommandUpdate("c", CommandState.RUNNING))

    assert command.tick(4999) == []
    asked = command.tick(5000)

    assert ended(asked) == [(CommandState.FAILED, "DeadlineExceeded")]
    assert sent(asked) == [frames.CancelCapture("c", frames.CancelMode.ABORT)]
    assert asked[-1].message == "the capture was running when the deadline passed"


def test_an_agent_that_restarted_and_knows_nothing_fails_the_command() -> None:
    command = linked()
    command.received(frames.CommandUpdate("c", CommandState.RUNNING))
    command.unlinked()

    asked = command.linked("another life", 10)

    assert ended(asked) == [(CommandState.FAILED, "AgentRestarted")]


def test_a_command_that_no_agent_ever_saw_is_given_to_the_next_life() -> None:
    command = linked()
    command.unlinked()

    asked = command.linked("another life", 1000)

    assert sent(asked) == [frames.StartCapture("c", "cpu", 1000, 4000)]


def test_what_nobody_needs_is_released_and_what_runs_for_nobody_is_aborted() -> None:
    assert released("old") == frames.ArtifactAck("old", 0, 0, done=True)
    for frame in (chunk(0, b"x"), frames.CommandUpdate("c", CommandState.FAILED)):
        assert answer_to_unknown(frame) == released("c")
    running = frames.CommandUpdate("c", CommandState.RUNNING)
    assert answer_to_unknown(running) == frames.CancelCapture("c", frames.CancelMode.ABORT)


def test_a_cancel_is_repeated_after_a_cut() -> None:
    command = linked()
    command.unlinked()

    assert command.cancel(frames.CancelMode.STOP) == []
    asked = sent(command.linked("life", 0))

    assert asked[1:] == [frames.CancelCapture("c", frames.CancelMode.STOP)]


def test_bytes_are_appended_in_order_and_committed_when_whole() -> None:
    command = linked()
    command.received(frames.CommandUpdate("c", CommandState.CAPTURED, artifact=TEN_BYTES))

    first = command.received(chunk(0, b"01234"))
    second = command.received(chunk(5, b"56789"))
    stored = command.stored()

    assert first[0] == effects.Append("c", 0, b"01234")
    assert sent(first) == [frames.ArtifactAck("c", 5, 8)]
    assert second[-1] == effects.Commit("c", TEN_BYTES)
    assert ended(stored) == [(CommandState.CAPTURED, "")]
    assert sent(stored) == [frames.ArtifactAck("c", 0, 0, done=True)]


def test_a_gap_is_reported_once_until_the_agent_comes_back_to_it() -> None:
    command = linked()
    command.received(frames.CommandUpdate("c", CommandState.CAPTURED, artifact=TEN_BYTES))

    gap = command.received(chunk(5, b"56789"))
    later = command.received(chunk(8, b"89"))
    back = command.received(chunk(0, b"01234"))

    assert sent(gap) == [frames.ArtifactAck("c", 0, 8)]
    assert later == []
    assert sent(back) == [frames.ArtifactAck("c", 5, 8)]


def test_a_line_that_keeps_garbling_fails_with_the_reason() -> None:
    command = linked()
    command.received(frames.CommandUpdate("c", CommandState.CAPTURED, artifact=TEN_BYTES))

    for _ in range(MAX_REPAIRS):
        assert ended(command.received(chunk(0, b"01234", crc32=1))) == []
    asked = command.received(chunk(0, b"01234", crc32=1))

    assert ended(asked) == [(CommandState.FAILED, "ChecksumMismatch")]


def test_an_artifact_over_the_limit_is_refused_before_its_bytes() -> None:
    command = linked(frames.StartCapture("c", "heap", 0, 5000, max_bytes=9))

    asked = command.received(frames.CommandUpdate("c", CommandState.CAPTURED, artifact=TEN_BYTES))

    assert ended(asked) == [(CommandState.FAILED, "TooLarge")]


def test_bytes_beyond_the_promised_size_are_damage() -> None:
    command = linked()
    command.received(frames.CommandUpdate("c", CommandState.CAPTURED, artifact=TEN_BYTES))

    asked = command.received(chunk(0, b"01234567890"))

    assert [e for e in asked if isinstance(e, effects.Append)] == []


def test_a_wrong_digest_fetches_once_more_and_then_fails() -> None:
    command = linked()
    command.received(frames.CommandUpdate("c", CommandState.CAPTURED, artifact=TEN_BYTES))
    command.received(chunk(0, b"0123456789"))

    again = command.storing_failed("ChecksumMismatch", "sha256 differs")
    command.received(chunk(0, b"0123456789"))
    over = command.storing_failed("ChecksumMismatch", "sha256 differs")

    assert again == [
        effects.Discard("c"),
        effects.SendProxyFrame(frames.ArtifactAck("c", 0, 8)),
    ]
    assert ended(over) == [(CommandState.FAILED, "ChecksumMismatch")]


def test_a_deadline_never_interrupts_a_commit() -> None:
    command = linked()
    command.received(frames.CommandUpdate("c", CommandState.CAPTURED, artifact=TEN_BYTES))
    command.received(chunk(0, b"0123456789"))

    assert command.tick(999_999) == []


def test_a_command_that_is_being_committed_is_not_asked_for_again() -> None:
    command = linked()
    command.received(frames.CommandUpdate("c", CommandState.CAPTURED, artifact=TEN_BYTES))
    command.received(chunk(0, b"0123456789"))
    command.unlinked()

    assert command.linked("another life", 10) == []
    assert ended(command.stored()) == [(CommandState.CAPTURED, "")]


def test_protocol_ranges_that_do_not_meet_are_refused_in_words() -> None:
    newer = frames.Hello(2, 3, "9", frames.Identity("p"), "i", frames.NodeState("r"))

    assert agreed_protocol(hello()) == 1
    refusal = agreed_protocol(newer)
    assert isinstance(refusal, frames.Refusal)
    assert refusal.message == (
        "agent speaks link protocol 2 to 3, this proxy 1 to 1: update the older one"
    )


def test_w54_pauses_double_spread_and_stay_below_the_cap() -> None:
    assert reconnect_delay_s(0, base_s=1, cap_s=60, chance=0.5) == 0.5
    assert reconnect_delay_s(3, base_s=1, cap_s=60, chance=0.5) == 4.0
    assert reconnect_delay_s(50, base_s=1, cap_s=60, chance=0.5) == 30.0
