# SPDX-License-Identifier: Apache-2.0
"""How much history an agent keeps when its node is slow, and how it comes back after a restart."""

import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from bench.agent_peers import Page
from bench.figures import Figure
from fodc_agent.recorder.journal import Journal
from fodc_agent.recorder.keeper import Keeper
from fodc_agent.recorder.recorder import Recorder

LATE_S = 9
HOURS = 2
REPLAYED_SERIES = 15_000
REPLAYED_ROWS = 360
SILENCE_MS = 50.0


def _kept() -> Figure:
    """A port that answers 9 s after it was asked, beside a source that answers each second."""
    recorder = Recorder(budget_bytes=8 << 20, interval_s=10, target_s=3600)
    begun_ms = 1_790_000_000_000
    late = [(at_s + LATE_S, at_s, "n") for at_s in range(0, HOURS * 3600 + 1, 10)]
    quick = [(at_s, at_s, "cpu") for at_s in range(HOURS * 3600 + LATE_S)]
    for arrived_s, at_s, name in sorted(late + quick):
        page = f"{name} {at_s}\n".encode()
        recorder.record_page(name, page, begun_ms + at_s * 1000, arrived_s * 1000)
    times = [
        at_ms
        for piece in recorder.window(0, 1 << 62, frozenset({"n"}))
        for at_ms in piece.timestamps_ms
    ]
    text = f"history of a port that answers after {LATE_S} s, {HOURS} hours of virtual time"
    return Figure((max(times) - min(times)) / 1000, "s", 3_600, text, at_least=True)


@cache
def _replayed() -> tuple[float, float]:
    """Return the seconds of a replay and the longest silence of the loop in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        _write(directory)
        return asyncio.run(_replay(directory))


def _recorder(journal: Journal) -> Recorder:
    return Recorder(budget_bytes=64 << 20, interval_s=10, target_s=3600, diary=journal)


def _write(directory: Path) -> None:
    page, journal = Page(str(REPLAYED_SERIES)), Journal(directory, max_bytes=1 << 30)
    recorder = _recorder(journal)
    now_ms = int(time.time() * 1000)
    for row in range(REPLAYED_ROWS, 0, -1):
        recorder.record_page("metrics:2121", page.text(), now_ms - row * 10_000)
    journal.close()


async def _replay(directory: Path) -> tuple[float, float]:
    journal = Journal(directory, max_bytes=1 << 30)
    keeper = Keeper(journal, Recorder(budget_bytes=64 << 20, interval_s=10, target_s=3600))
    longest_s = 0.0

    async def watch() -> None:
        nonlocal longest_s
        while True:
            before_s = time.perf_counter()
            await asyncio.sleep(0)
            longest_s = max(longest_s, time.perf_counter() - before_s)

    watching = asyncio.create_task(watch())
    begun_s = time.perf_counter()
    await keeper.replay()
    took_s = time.perf_counter() - begun_s
    watching.cancel()
    await keeper.close()
    return took_s, longest_s * 1000


_REPLAY = f"journal of {REPLAYED_ROWS} rows of {REPLAYED_SERIES} series, read beside a busy loop"


def _replay_s() -> Figure:
    return Figure(round(_replayed()[0], 2), "s", 30, _REPLAY)


def _silence_ms() -> Figure:
    return Figure(
        round(_replayed()[1], 1), "ms", SILENCE_MS, f"longest turn of the loop; {_REPLAY}"
    )


FIGURES: dict[str, Callable[[], Figure]] = {
    "history_kept_s": _kept,
    "journal_replay_s": _replay_s,
    "journal_replay_silence_ms": _silence_ms,
}


def run(wanted: Sequence[str] = ()) -> dict[str, Figure]:
    """Measure the wanted names, all by default."""
    return {name: FIGURES[name]() for name in wanted or FIGURES}
