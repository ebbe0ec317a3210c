# SPDX-License-Identifier: Apache-2.0
"""Series over time: GET /metrics-windows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fodc_client.reading import Fields


@dataclass(frozen=True, slots=True)
class Point:
    """One sample of a window; `value` is None where the node had a value JSON cannot carry."""

    time: datetime
    value: float | None


@dataclass(frozen=True, slots=True)
class WindowSeries:
    """One series of GET /metrics-windows."""

    name: str
    labels: Mapping[str, str]
    pod_name: str
    points: tuple[Point, ...]


def read_series(fields: Fields) -> WindowSeries:
    """Read one element of the answer of GET /metrics-windows."""
    points = fields.items("data", lambda point: (point.time("timestamp"), point))
    return WindowSeries(
        name=fields.text("name"),
        labels=fields.text_map("labels"),
        pod_name=fields.text_or("pod_name"),
        points=tuple(
            Point(time, point.number_or_none("value")) for time, point in points if time is not None
        ),
    )


def read_windows(fields: Fields) -> tuple[WindowSeries, ...]:
    """Read the list of GET /metrics-windows, wrapped as `series`."""
    return fields.items("series", read_series)
