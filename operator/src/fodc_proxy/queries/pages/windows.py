# SPDX-License-Identifier: Apache-2.0
"""Windows of the fleet: columns of doubles in, the JSON array of `/metrics-windows` out.

The one idea: whatever the contract, an answer is kept as columns (times shared between series,
values as doubles), and JSON is made series by series while it is being written, so that a million
points cost their doubles and not their text. Shape: upstream-proxy §6.4; NaN and infinities are
JSON strings, where the existing proxy sends an empty body (W12).
"""

import json
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, TypeAlias

from fodc_protocol.errors import FodcError, Reason
from fodc_protocol.link import frames
from fodc_protocol.metrics.grammar import format_value
from fodc_protocol.metrics.samples import (
    Labels,
    Series,
    is_absent,
    with_identity,
    with_node_labels,
)
from fodc_protocol.times import format_rfc3339

_CHUNK_BYTES: Final = 128 * 1024
DOUBLE_BYTES: Final = 8
Times: TypeAlias = "array[int]"
Values: TypeAlias = "array[float]"


class WindowError(FodcError):
    """An answer whose lengths do not fit together."""

    default_reason = Reason.PROTOCOL_ERROR


@dataclass(slots=True)
class Column:
    """One series over time; several columns share one array of times (Unix milliseconds)."""

    name: str
    labels: Labels
    help: str
    times_ms: Times
    values: Values


# ---- answers of our own agents ------------------------------------------------------------------


@dataclass(slots=True)
class ColumnsOfParts:
    """Collects the parts of one agent's answer."""

    node_labels: Labels = ()
    identity: Labels = ()
    _schemas: dict[int, tuple[Series, ...]] = field(default_factory=dict)
    _columns: dict[tuple[str, Labels], Column] = field(default_factory=dict)

    def add(self, part: frames.WindowPart) -> None:
        """Take one part; raises WindowError when its lengths do not fit its series."""
        series = part.series or self._schemas.get(part.schema_id, ())
        self._schemas[part.schema_id] = series
        times = array("q", part.timestamps_ms)
        if len(part.values) != len(series) * len(times) * DOUBLE_BYTES:
            raise WindowError(
                f"{len(part.values)} bytes of values do not fit {len(series)} series "
                f"over {len(times)} times"
            )
        values = array("d", part.values)
        for place, described in enumerate(series):
            start = place * len(times)
            self._put(described, times, values[start : start + len(times)])

    def _put(self, described: Series, times: Times, values: Values) -> None:
        labels = with_identity(with_node_labels(described.labels, self.node_labels), self.identity)
        known = self._columns.get((described.name, labels))
        if known is None:
            column = Column(described.name, labels, described.help, times, values)
            self._columns[described.name, labels] = column
        else:
            # A new array: the old one is shared with other series.
            known.times_ms = known.times_ms + times
            known.values.extend(values)

    def columns(self) -> tuple[Column, ...]:
        """Return what has been collected."""
        return tuple(self._columns.values())


def shared_times(columns: Iterable[Column]) -> tuple[Column, ...]:
    """Let columns with equal times share one array; for answers that came point by point."""
    known: dict[bytes, Times] = {}
    shared = tuple(columns)
    for column in shared:
        column.times_ms = known.setdefault(column.times_ms.tobytes(), column.times_ms)
    return shared


# ---- JSON ---------------------------------------------------------------------------------------


def window_json(agents: Iterable[tuple[str, Sequence[Column]]]) -> Iterator[bytes]:
    """Yield the JSON array for (agent id, columns) pairs in chunks of about 128 KiB."""
    parts: list[str] = ["["]
    size = separators = 0
    texts: dict[int, str] = {}
    for agent_id, columns in agents:
        prepared: dict[int, _Heads] = {}
        for column in columns:
            heads = prepared.get(id(column.times_ms))
            if heads is None:
                heads = prepared[id(column.times_ms)] = _heads_of(column.times_ms, texts)
            data = _points(heads, column.values)
            if not data:
                continue
            parts += ["," if separators else "", _series(agent_id, column, data)]
            separators = 1
            size += len(data)
            if size > _CHUNK_BYTES:
                yield "".join(parts).encode("utf-8", "replace")
                parts.clear()
                size = 0
    parts.append("]\n")
    yield "".join(parts).encode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class _Heads:
    """Text before each value, and the order by time when the times do not ascend."""

    texts: list[str]
    order: list[int] | None


def _heads_of(times_ms: Times, texts: dict[int, str]) -> _Heads:
    order: list[int] | None = None
    if any(later < earlier for earlier, later in pairwise(times_ms)):
        order = sorted(range(len(times_ms)), key=times_ms.__getitem__)
    if len(texts) > 100_000:
        texts.clear()
    heads: list[str] = []
    for time_ms in times_ms:
        second = time_ms // 1000
        head = texts.get(second)
        if head is None:
            head = f'{{"timestamp":"{format_rfc3339(second)}","value":'
            texts[second] = head
        heads.append(head)
    return _Heads(heads, order)


def _points(heads: _Heads, values: Values) -> str:
    """Return the points of one series without brackets, absent ones left out."""
    points = [(head, value) for head, value in zip(heads.texts, values, strict=True)]
    if heads.order is not None:
        points = [points[place] for place in heads.order]
    if math.isnan(sum(values)):  # perhaps absent samples; the sum is the cheap test
        points = [(head, value) for head, value in points if not is_absent(value)]
    return "},".join([head + json_number(value) for head, value in points]) + (
        "}" if points else ""
    )


def json_number(value: float) -> str:
    """Return a number as Go's JSON writes it; what JSON cannot say is a string: "NaN", "+Inf"."""
    text = repr(value)
    if text[-2:] == ".0":
        return text[:-2]
    if "n" in text:  # nan, inf
        return f'"{format_value(value)}"'
    if "e" in text:
        return format_value(value) if 1e-6 <= abs(value) < 1e21 else _exponent(text)
    return text


def _exponent(text: str) -> str:
    mantissa, _, exponent = text.partition("e")
    sign = "-" if exponent[0] == "-" else "+"
    return f"{mantissa}e{sign}{exponent[1:].lstrip('0')}"


def _series(agent_id: str, column: Column, data: str) -> str:
    labels = dict(sorted(column.labels))
    described = _text(column.help)
    pod_name = _text(labels.get("pod_name", ""))
    return (
        f'{{"agent_id":{_text(agent_id)},"data":[{data}],"description":{described},'
        f'"labels":{_escaped(labels)},"name":{_text(column.name)},"pod_name":{pod_name}}}'
    )


def _text(value: str) -> str:
    return _escaped(value)


def _escaped(value: str | dict[str, str]) -> str:
    """Return JSON with the escapes of Go, which keep it safe inside HTML."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_HTML) if _needs_html(text) else text


_HTML: Final = {
    ord("<"): "\\u003c",
    ord(">"): "\\u003e",
    ord("&"): "\\u0026",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


def _needs_html(text: str) -> bool:
    return any(mark in text for mark in "<>&\u2028\u2029")
