# SPDX-License-Identifier: Apache-2.0
"""What a person sees while a request runs: a bar per target on a terminal, lines elsewhere.

The one idea: one pure function says what stands in each row (`rows_of`); the terminal redraws the
rows four times a second, a log gets one line when a state changed and never a bar.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table as RichTable
from rich.text import Text

from fodc_api.requests import Request, Result, Target
from fodc_api.words import Phase
from fodc_client import wording
from fodc_client.formats import printable, size, span
from fodc_client.reasons import because
from fodc_client.tables import TONES

# ---- pure -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One capture on one node; `share` is 0..1, None where no length is known."""

    node_id: str
    profile: str
    phase: Phase
    share: float | None
    elapsed_s: float
    received_bytes: int
    note: str

    @property
    def ended(self) -> bool:
        """Whether the row will not change any more."""
        return self.phase.ended


def rows_of(request: Request) -> tuple[Row, ...]:
    """Return a row per target and capture; a target without results yet has one per profile."""
    return tuple(row for target in request.targets for row in _rows_of_target(request, target))


def _rows_of_target(request: Request, target: Target) -> tuple[Row, ...]:
    if target.results:
        return tuple(_row(target, result) for result in target.results)
    note = because(target.reason, wording.of_message(target.message))
    return tuple(
        Row(target.node_id, capture.profile, target.phase, None, 0.0, 0, note)
        for capture in request.captures
    )


def _row(target: Target, result: Result) -> Row:
    done = result.phase is Phase.SUCCEEDED
    return Row(
        node_id=target.node_id,
        profile=result.profile,
        phase=result.phase,
        share=1.0 if done else share_of(result.elapsed_seconds, result.duration_seconds),
        elapsed_s=result.elapsed_seconds,
        received_bytes=(result.size_bytes or 0) if done else result.received_bytes,
        note="empty: nothing was sampled"
        if result.empty
        else because(result.reason, wording.of_message(result.message)),
    )


def share_of(elapsed_s: float, duration_s: float) -> float | None:
    """Return how much of the duration is over, None for captures without one."""
    return min(1.0, elapsed_s / duration_s) if duration_s > 0 else None


def later(row: Row, seconds: float, duration_s: float) -> Row:
    """Return a running row as it must look `seconds` after the proxy's last word."""
    if row.phase is not Phase.RUNNING:
        return row
    elapsed_s = row.elapsed_s + seconds
    return replace(row, elapsed_s=elapsed_s, share=share_of(elapsed_s, duration_s))


def line(row: Row) -> str:
    """Return a row as one line of a log; why something failed is told at the end, once."""
    words = [row.node_id, row.profile, row.phase]
    if row.phase is Phase.SUCCEEDED:
        words.append(f"{size(row.received_bytes)} in {span(row.elapsed_s)}")
    return " ".join(words) + (f" ({row.note})" if row.note and not row.ended else "")


def changed_lines(shown: Mapping[tuple[str, str], str], rows: tuple[Row, ...]) -> list[Row]:
    """Return the rows whose phase differs from the one that was shown last."""
    return [
        row
        for row in rows
        if shown.get((row.node_id, row.profile)) != row.phase and row.phase is not Phase.PENDING
    ]


# ---- views ----------------------------------------------------------------------------------


class View(Protocol):
    """Shows a request while it runs."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last state on the screen."""

    def show(self, request: Request) -> None:
        """Show the newest state."""


def view_for(console: Console, *, clock: Callable[[], float] = time.monotonic) -> View:
    """Return bars for a terminal that can redraw, lines for everything else."""
    if console.is_terminal and not console.is_dumb_terminal:
        return Bars(console, clock)
    return Lines(console)


class Lines:
    """Prints a line for each change; for files, pipes and simple terminals."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: dict[tuple[str, str], str] = {}

    def __enter__(self) -> Self:
        """Begin; nothing to prepare."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End; nothing to restore."""

    def show(self, request: Request) -> None:
        """Print what changed."""
        for row in changed_lines(self._shown, rows_of(request)):
            self._shown[row.node_id, row.profile] = row.phase
            self._console.print(Text(printable(line(row))), soft_wrap=True)


class Bars:
    """Draws a table with bars and redraws it in place."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._request: Request | None = None
        self._shown_at = clock()
        self._live = Live(
            get_renderable=self._drawing, console=console, refresh_per_second=4, transient=False
        )

    def __enter__(self) -> Self:
        """Begin to redraw."""
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Draw a last time and stop."""
        self._live.stop()

    def show(self, request: Request) -> None:
        """Take the newest state."""
        self._request, self._shown_at = request, self._clock()
        self._live.refresh()

    def _drawing(self) -> RichTable:
        grid = RichTable.grid(padding=(0, 2, 0, 0))
        if self._request is None:
            return grid
        passed_s = self._clock() - self._shown_at
        lengths = _durations(self._request)
        for row in rows_of(self._request):
            draw(grid, later(row, passed_s, lengths.get((row.node_id, row.profile), 0.0)))
        return grid


def _durations(request: Request) -> dict[tuple[str, str], float]:
    return {
        (target.node_id, result.profile): result.duration_seconds
        for target in request.targets
        for result in target.results
    }


def draw(grid: RichTable, row: Row) -> None:
    """Add one row to a grid: node, profile, bar, state, elapsed, bytes, what it waits for."""
    share = row.share if row.share is not None else 1.0 if row.ended else None
    pulse = share is None and row.phase is Phase.RUNNING
    bar = ProgressBar(total=1.0, completed=share or 0.0, width=20, pulse=pulse)
    grid.add_row(
        Text(printable(row.node_id)),
        Text(printable(row.profile)),
        bar,
        Text(row.phase, style=TONES.get(row.phase, "")),
        Text(span(row.elapsed_s) if row.elapsed_s else "", justify="right"),
        Text(size(row.received_bytes) if row.received_bytes else "", justify="right"),
        Text("" if row.ended else printable(row.note), style="dim"),
    )
