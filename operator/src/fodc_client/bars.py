# SPDX-License-Identifier: Apache-2.0
"""Bars of a running request on a terminal that can redraw; the only module that needs rich."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fodc_api.requests import Request
from fodc_api.words import Phase
from fodc_client.formats import printable, size, span
from fodc_client.progress import Row, Show, durations, later, rows_of
from fodc_client.tables import TONES


@contextmanager
def bars(*, plain: bool, clock: Callable[[], float] = time.monotonic) -> Iterator[Show]:
    """Redraw a table with bars in place, four times a second; `plain` forbids colors."""
    console = Console(
        file=sys.stderr,
        no_color=plain,
        color_system=None if plain else "auto",
        highlight=False,
        markup=False,
        emoji=False,
    )
    drawing = _Drawing(clock)
    with Live(get_renderable=drawing.grid, console=console, refresh_per_second=4) as live:

        def show(request: Request) -> None:
            drawing.take(request)
            live.refresh()

        yield show


class _Drawing:
    """What stands on the terminal, moved on by the clock between two words of the proxy."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._request: Request | None = None
        self._taken_at = clock()

    def take(self, request: Request) -> None:
        self._request, self._taken_at = request, self._clock()

    def grid(self) -> Table:
        grid = Table.grid(padding=(0, 2, 0, 0))
        if self._request is None:
            return grid
        passed_s = self._clock() - self._taken_at
        lengths = durations(self._request)
        for row in rows_of(self._request):
            draw(grid, later(row, passed_s, lengths.get((row.node_id, row.profile), 0.0)))
        return grid


def draw(grid: Table, row: Row) -> None:
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
