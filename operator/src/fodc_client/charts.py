# SPDX-License-Identifier: Apache-2.0
"""A line chart in a terminal, out of braille dots; pure.

The one idea: each character is a grid of 2 x 4 dots, so that 60 columns hold 120 points in time. A
gap in the data stays a gap: no line is drawn over a time in which nobody measured.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median
from typing import Final

_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BRAILLE: Final = 0x2800
_GAP_FACTOR: Final = 3.5
"""So many usual intervals without a sample count as a gap."""

PlotPoint = tuple[float, float]
"""Seconds since 1970 and a value."""


@dataclass(frozen=True, slots=True)
class Area:
    """Size of a chart in characters, axes not counted."""

    width: int = 60
    height: int = 10


def chart(
    points: Sequence[PlotPoint],
    *,
    area: Area,
    start_s: float,
    end_s: float,
    label: Callable[[float], str],
    ascii_only: bool = False,
) -> list[str]:
    """Return the lines of a chart: values at the left, times (UTC) below.

    Values that are not finite are left out. `label` writes a value of the axis.
    """
    finite = sorted(point for point in points if math.isfinite(point[1]))
    low, high = _limits([value for _, value in finite])
    canvas = _Canvas(area)
    place = _placer(area, (start_s, max(end_s, start_s + 1e-9)), (low, high))
    for segment in segments(finite):
        _draw(canvas, [place(point) for point in segment])
    rows = canvas.rows(ascii_only=ascii_only)
    return _with_axes(
        rows, area, _labels(low, high, area.height, label), (start_s, end_s), ascii_only=ascii_only
    )


def segments(points: Sequence[PlotPoint]) -> list[list[PlotPoint]]:
    """Cut points, ordered by time, where the distance is much longer than usual."""
    if len(points) < 2:
        return [list(points)] if points else []
    distances = [later[0] - earlier[0] for earlier, later in pairwise(points)]
    limit = median(distances) * _GAP_FACTOR
    parts = [[points[0]]]
    for distance, point in zip(distances, points[1:], strict=True):
        if distance > limit:
            parts.append([])
        parts[-1].append(point)
    return parts


def rates(points: Sequence[PlotPoint]) -> list[PlotPoint]:
    """Return the increase per second of a counter; a fall is a restart and counts from zero."""
    return [
        (later[0], (later[1] - earlier[1] if later[1] >= earlier[1] else later[1]) / passed)
        for earlier, later in pairwise(points)
        if (passed := later[0] - earlier[0]) > 0
    ]


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the value axis; zero belongs to it when it is not far."""
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    if low > 0 and low < (high - low) * 2:
        low = 0.0
    if high == low:
        margin = abs(high) * 0.1 or 1.0
        return low - margin, high + margin
    return low, high


def _placer(
    area: Area, times: tuple[float, float], values: tuple[float, float]
) -> Callable[[PlotPoint], tuple[int, int]]:
    columns, lines = area.width * 2 - 1, area.height * 4 - 1

    def place(point: PlotPoint) -> tuple[int, int]:
        x = (point[0] - times[0]) / (times[1] - times[0])
        y = (point[1] - values[0]) / (values[1] - values[0])
        return round(x * columns), lines - round(y * lines)

    return place


class _Canvas:
    """Dots, two across and four down in each character."""

    def __init__(self, area: Area) -> None:
        self._area = area
        self._cells = [[0] * area.width for _ in range(area.height)]

    def dot(self, x: int, y: int) -> None:
        if 0 <= x < self._area.width * 2 and 0 <= y < self._area.height * 4:
            self._cells[y // 4][x // 2] |= _DOTS[y % 4][x % 2]

    def rows(self, *, ascii_only: bool) -> list[str]:
        return [
            "".join(_character(cell, ascii_only=ascii_only) for cell in row) for row in self._cells
        ]


def _character(cell: int, *, ascii_only: bool) -> str:
    if not cell:
        return " "
    return "*" if ascii_only else chr(_BRAILLE + cell)


def _draw(canvas: _Canvas, places: Sequence[tuple[int, int]]) -> None:
    if len(places) == 1:
        canvas.dot(*places[0])
    for start, end in pairwise(places):
        steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
        for step in range(steps + 1):
            share = step / steps
            canvas.dot(
                round(start[0] + (end[0] - start[0]) * share),
                round(start[1] + (end[1] - start[1]) * share),
            )


def _labels(low: float, high: float, height: int, label: Callable[[float], str]) -> dict[int, str]:
    """Return the texts of the value axis by line: top, middle and bottom."""
    places = {0: high, height - 1: low}
    if height >= 5:
        places[(height - 1) // 2] = high - (high - low) * ((height - 1) // 2) / (height - 1)
    return {line: label(value) for line, value in places.items()}


def _with_axes(
    rows: Sequence[str],
    area: Area,
    labels: dict[int, str],
    times: tuple[float, float],
    *,
    ascii_only: bool,
) -> list[str]:
    margin = max(map(len, labels.values()))
    tick, line, corner, across = ("+", "|", "+", "-") if ascii_only else ("┤", "│", "└", "─")
    drawn = [
        f"{labels.get(number, ''):>{margin}} {tick if number in labels else line}{row}".rstrip()
        for number, row in enumerate(rows)
    ]
    drawn.append(f"{'':>{margin}} {corner}{across * area.width}")
    drawn.append(f"{'':>{margin + 2}}{time_axis(*times, width=area.width)}")
    return drawn


def time_axis(start_s: float, end_s: float, *, width: int) -> str:
    """Return start, middle and end of a span as UTC times of day, spread over `width`."""
    words = [_clock(moment_s) for moment_s in (start_s, (start_s + end_s) / 2, end_s)]
    if width < sum(map(len, words)) + 4:
        return f"{words[0]}…{words[2]}"
    left = width // 2 - len(words[1]) // 2 - len(words[0])
    right = width - len(words[0]) - left - len(words[1]) - len(words[2])
    return words[0] + " " * left + words[1] + " " * right + words[2]


def _clock(moment_s: float) -> str:
    return f"{datetime.fromtimestamp(moment_s, UTC):%H:%M:%S}"
