# SPDX-License-Identifier: Apache-2.0
"""Captures that the agent began by itself, over its own end."""

import asyncio
from pathlib import Path

from fodc_agent.captures.outcomes import Failed
from fodc_agent.captures.spool import Held
from fodc_agent.occurrences.own_captures import OwnCaptures
from fodc_protocol.errors import Reason
from fodc_protocol.occurrences import OccurrenceKind
from fodc_protocol.profiles import Profile


class Captures:
    """What runs and what is held, as a test says."""

    def __init__(self) -> None:
        self.held: list[Held] = []
        self.started: list[tuple[str, str, int, int]] = []
        self.noted_of: list[str] = []

    def active(self) -> list[tuple[str, int]]:
        return [(one[0], 0) for one in self.started]

    async def forget(self, command_id: str) -> None:
        self.held = [one for one in self.held if one.command_id != command_id]

    async def noted(self, command_id: str) -> None:
        assert command_id in [one[0] for one in self.started]
        self.noted_of.append(command_id)

    def start(self, order) -> None:
        told = order.command_id, str(order.profile), order.end_ms, order.span_ms
        self.started.append(told)


def test_a_window_that_was_cut_is_taken_again_as_of_then() -> None:
    captures, told = Captures(), []
    own = OwnCaptures(captures, Path(), hold=told.append, drop=told.append, clock_s=lambda: 0.0)
    captures.held = [
        Held("own-1", Failed(Reason.AGENT_RESTARTED, "the agent ended"), 5),
        Held("own-2", Failed(Reason.NODE_UNREACHABLE, "refused"), 5),
    ]
    cut = [one for one in ("own-1", "own-2", "own-3") if own.was_cut(one)]
    asyncio.run(own.let_go("own-1"))
    is_here_between = own.has("own-1")
    own.take_again("own-1", 1_800_000_000_000)

    assert (cut, is_here_between, own.has("own-1"), told) == (["own-1"], False, True, ["own-1"])
    assert captures.started == [("own-1", "window", 1_800_000_000_000, 900_000)]


def test_a_disk_that_hangs_holds_up_what_is_told_for_some_seconds_only(
    tmp_path, monkeypatch
) -> None:
    class Hanging(Captures):
        async def noted(self, command_id: str) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr("fodc_agent.occurrences.own_captures.NOTED_S", 0.01)
    own = OwnCaptures(Hanging(), tmp_path, hold=lambda _: None, drop=print, clock_s=lambda: 0.0)

    begun = asyncio.run(asyncio.wait_for(own.begin(OccurrenceKind.NODE_GONE, "inc-1", 7), 10))

    assert list(begun) == [Profile.WINDOW]


def test_what_is_begun_is_in_the_spool_before_anybody_is_told_of_it(tmp_path) -> None:
    captures = Captures()
    own = OwnCaptures(captures, tmp_path, hold=lambda _: None, drop=print, clock_s=lambda: 0.0)

    begun = asyncio.run(own.begin(OccurrenceKind.NODE_UNREACHABLE, "inc-1", 7))

    assert sorted(begun) == [Profile.GOROUTINE, Profile.WINDOW]
    assert captures.noted_of == list(begun.values())
