# SPDX-License-Identifier: Apache-2.0
"""The window as OpenMetrics text with a time on every sample, made in small pieces. Pure.

The one idea: a family must stand in one place, while rows are unrolled for many series at once; so
small families go together in batches that are unrolled once, and a large one is a batch of its own
that is written as it is unrolled. Never more than one batch is held.

The format is OpenMetrics 1.0: seconds with milliseconds, times of a series ascending, `# EOF` at
the end. Parts of histograms and summaries are families of type `unknown`, because their points
stand series after series; so is a counter whose name without `_total` is another family's.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from fodc_protocol.lean import dataclass
from fodc_protocol.metrics.grammar import escape_value, format_value, metric_name, sample_prefix
from fodc_protocol.metrics.samples import Labels, MetricType, is_absent

if TYPE_CHECKING:
    from fodc_agent.recorder.recorder import Recorder, WindowColumns

BATCH_SERIES: Final = 256
EOF: Final = b"# EOF\n"
_TOTAL: Final = "_total"


@dataclass(frozen=True, slots=True)
class NameFacts:
    """What is known of one exact sample name, over all sources."""

    name: str
    type: MetricType
    help: str
    series: int

    def with_more(self, other: "NameFacts") -> "NameFacts":
        """Return these facts with the series that another source has of the name."""
        return NameFacts(
            self.name, self.type or other.type, self.help or other.help, self.series + other.series
        )


@dataclass(frozen=True, slots=True)
class Text:
    """One step of the text: whole lines, and how many samples are among them."""

    data: bytes
    samples: int


def window_text(history: "Recorder", start_ms: int, end_ms: int) -> Iterator[Text]:
    """Yield the window with start <= time <= end, a series or less at a time, `# EOF` last."""
    names = history.names()
    taken = {metric_name(one.name) for one in names}
    for batch in batches(names):
        wanted = frozenset(one.name for one in batch)
        pieces = history.window(start_ms, end_ms, wanted)
        if len(batch) == 1:
            yield from _family(_head(batch[0], taken), batch[0].name, pieces)
            continue
        held = list(pieces)
        for one in batch:
            yield from _family(_head(one, taken), one.name, held)
    yield Text(EOF, 0)


def batches(
    names: Sequence[NameFacts], most_series: int = BATCH_SERIES
) -> Iterator[list[NameFacts]]:
    """Yield names in groups of so many series; one that alone has more stands alone."""
    batch: list[NameFacts] = []
    series = 0
    for one in names:
        if batch and series + one.series > most_series:
            yield batch
            batch, series = [], 0
        batch.append(one)
        series += one.series
    if batch:
        yield batch


# ---- one family -------------------------------------------------------------------------------


def _head(one: NameFacts, taken: set[str]) -> bytes:
    """Return TYPE and HELP; `taken` are the names of all families."""
    name = metric_name(one.name)
    kind = "unknown"
    match one.type:
        case MetricType.GAUGE:
            kind = "gauge"
        case MetricType.COUNTER if name.endswith(_TOTAL):
            short = name.removesuffix(_TOTAL)
            if short and short not in taken:
                name, kind = short, "counter"
        case _:
            pass
    text = f"# TYPE {name} {kind}\n"
    if one.help:
        # OpenMetrics escapes a HELP as it escapes a label's value.
        text += f"# HELP {name} {escape_value(one.help)}\n"
    return text.encode("utf-8", "replace")


def _family(head: bytes, name: str, pieces: Iterable["WindowColumns"]) -> Iterator[Text]:
    """Yield the samples of one name; of two equal series the first source's stays."""
    seen: set[Labels] = set()
    for piece in pieces:
        points = len(piece.timestamps_ms)
        stamps: list[str] | None = None
        for place, series in enumerate(piece.series):
            if series.name != name or series.labels in seen:
                continue
            seen.add(series.labels)
            stamps = stamps or _stamps(piece.timestamps_ms)
            cells = piece.values[place * points : (place + 1) * points]
            text = _lines(sample_prefix(series.name, series.labels), cells, stamps)
            if text.samples:
                yield Text(head + text.data, text.samples)
                head = b""


def _stamps(times_ms: "array[int]") -> list[str]:
    """Return what ends a line, empty for a time that was there already."""
    stamps: list[str] = []
    last: int | None = None
    for at in times_ms:
        stamps.append("" if at == last else f" {at // 1000}.{at % 1000:03d}\n")
        last = at
    return stamps


def _lines(prefix: str, cells: "array[float]", stamps: list[str]) -> Text:
    start = prefix + " "
    lines = [
        start + format_value(value) + stamp
        for value, stamp in zip(cells, stamps, strict=True)
        if stamp and (value == value or not is_absent(value))  # noqa: PLR0124 - NaN is rare: ask then
    ]
    return Text("".join(lines).encode("utf-8", "replace"), len(lines))
