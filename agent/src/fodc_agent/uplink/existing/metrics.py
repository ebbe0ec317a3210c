# SPDX-License-Identifier: Apache-2.0
"""Answers on the metrics stream: exactly one message per command, whatever happens.

The one idea: the proxy waits for one message and its limit is 32 MiB, so an answer is trimmed to
the newest rows that fit (W-56). The limit here is lower, because the whole message has to exist in
a process that is meant to stay small; it exists once, in one buffer.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

from fodc_agent.recorder.recorder import Recorder, WindowColumns
from fodc_agent.uplink.existing import codec
from fodc_protocol.metrics.samples import Series, is_absent

ANSWER_BYTES: Final = 8 * 1024 * 1024
_FOREVER_MS: Final = 1 << 62
_YIELD_EVERY: Final = 512
_SAMPLE_OVERHEAD_BYTES: Final = 32  # value, time and lengths around a metric, from above


class MetricsAnswers:
    """Encodes answers; `trimmed` counts those that had to leave older rows out."""

    def __init__(
        self, samples: Recorder, now_ms: Callable[[], int], *, limit_bytes: int = ANSWER_BYTES
    ) -> None:
        self._samples = samples
        self._now_ms = now_ms
        self._limit_bytes = limit_bytes
        self.trimmed = 0

    async def answer(self, command: codec.MetricsCommand) -> bytearray:
        """Return the one message that answers a command."""
        answer = bytearray()
        if command.latest:
            await self._latest(answer)
        else:
            await self._window(answer, command)
        answer += codec.answer_time(self._now_ms())
        return answer

    async def _latest(self, answer: bytearray) -> None:
        """Add one sample per series, without a time of its own; one coherent snapshot (W-61)."""
        samples = list(self._samples.latest_samples())
        for number, sample in enumerate(samples):
            part = codec.sample_of(codec.metric_of(sample.series), sample.value)
            if len(answer) + len(part) > self._limit_bytes:
                self.trimmed += 1
                break
            answer += part
            if number % _YIELD_EVERY == _YIELD_EVERY - 1:
                await asyncio.sleep(0)

    async def _window(self, answer: bytearray, command: codec.MetricsCommand) -> None:
        """Add one sample per series and row, each with its time; the newest rows that fit."""
        start_ms = command.start_ms if command.start_ms is not None else -_FOREVER_MS
        end_ms = command.end_ms if command.end_ms is not None else _FOREVER_MS
        if end_ms < start_ms:
            return
        rows = self._rows_that_fit(start_ms, end_ms)
        for piece in self._samples.window(start_ms, end_ms):
            for part in _samples_of(piece, rows):
                answer += part
            await asyncio.sleep(0)

    def _rows_that_fit(self, start_ms: int, end_ms: int) -> int:
        """Return how many rows of every source fit, from the sizes of all their series."""
        row_bytes = 0
        most_rows = 0
        for piece in self._samples.window(start_ms, end_ms):
            row_bytes += sum(map(_row_cost, piece.series))
            most_rows = max(most_rows, len(piece.timestamps_ms))
        fitting = max(1, self._limit_bytes // max(1, row_bytes))
        self.trimmed += fitting < most_rows
        return fitting


def _row_cost(series: Series) -> int:
    return len(codec.metric_of(series)) + _SAMPLE_OVERHEAD_BYTES


def _samples_of(piece: WindowColumns, rows: int) -> Iterator[bytes]:
    """Yield the samples of the newest rows of a piece of history."""
    points = len(piece.timestamps_ms)
    first = max(0, points - rows)
    times = [codec.time_of(at_ms) for at_ms in piece.timestamps_ms[first:]]
    for place, series in enumerate(piece.series):
        metric = codec.metric_of(series)
        values = piece.values[place * points + first : (place + 1) * points]
        for value, sample_time in zip(values, times, strict=True):
            if not is_absent(value):
                yield codec.sample_of(metric, value, sample_time)
