# SPDX-License-Identifier: Apache-2.0
"""A window that was captured, read back from its file; pure but for the reading.

The one idea: a file may hold a million samples and one metric is asked for, so lines of others are
only looked at for their names.
"""

import gzip
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from fodc_api.windows import Point, WindowSeries
from fodc_client.errors import ClientError
from fodc_protocol.times import format_rfc3339_ms

SUFFIX: Final = ".om.gz"
_LINE: Final = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+) ([0-9.]+)\n?")
_LABEL: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_ESCAPES: Final = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


def read_window(path: Path, metric: str) -> list[WindowSeries]:
    """Return the series of one metric, and one without points for the name of each other.

    Raises ClientError when the file is none of this kind.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8", errors="replace", newline="\n") as lines:
            return series_of(lines, metric)
    except (OSError, EOFError, zlib.error) as error:
        raise ClientError(f"{path}: cannot be read as a captured window: {error}") from error


def series_of(lines: Iterable[str], metric: str) -> list[WindowSeries]:
    """Return the series of `metric` in OpenMetrics text, and an empty one for each other name."""
    points: dict[str, list[Point]] = {}
    names: set[str] = set()
    about = ""
    whole = False
    for line in lines:
        if line.startswith("#"):
            whole = line.startswith("# EOF")
            word, _, rest = line[2:].partition(" ")
            name, _, text = rest.strip().partition(" ")
            if word == "HELP" and metric in (name, f"{name}_total"):
                about = text
            continue
        name = line.partition("{")[0].partition(" ")[0]
        if name != metric:
            names.add(name)
        elif found := _LINE.fullmatch(line):
            _, labels, value, at_s = found.groups()
            points.setdefault(labels or "", []).append(_point(value, at_s))
    if not whole:
        raise EOFError("it is cut: its last line is not # EOF")
    drawn = [_series(metric, about, labels, data) for labels, data in points.items()]
    return [*drawn, *(_series(name, "", "", []) for name in sorted(names))]


def _point(value: str, at_s: str) -> Point:
    seconds, _, fraction = at_s.partition(".")
    at_ms = int(seconds) * 1000 + int(fraction.ljust(3, "0")[:3])
    number = value if value in ("NaN", "+Inf", "-Inf") else float(value)
    return Point(format_rfc3339_ms(at_ms), number)  # type: ignore[arg-type]  # one of the three


def _series(name: str, about: str, labels: str, data: list[Point]) -> WindowSeries:
    pairs = {
        key: re.sub(r"\\.", lambda escape: _ESCAPES.get(escape[0], escape[0]), value)
        for key, value in _LABEL.findall(labels)
    }
    return WindowSeries("", tuple(data), about, pairs, name, pairs.get("pod_name", ""))
