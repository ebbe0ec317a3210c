# SPDX-License-Identifier: Apache-2.0
"""What the proxy's queries are answered with.

The one idea: an answer is a stream of frames of bounded size, each made only when the one before
it has left, so that a question about everything costs no more memory than its largest part.
"""

import asyncio
import hashlib
import sys
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final

from fodc_agent.recorder.recorder import Recorder, WindowColumns
from fodc_protocol.errors import Reason
from fodc_protocol.lean import dataclass
from fodc_protocol.link import frames
from fodc_protocol.metrics.families import FamilyBlock
from fodc_protocol.metrics.samples import Series

PAGE_BYTES: Final = 128 * 1024
PART_BYTES: Final = 128 * 1024
_FAMILY_OVERHEAD_BYTES: Final = 64


class NoAnswerError(Exception):
    """The query cannot be answered; `reason` and text go to the proxy."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


ReadEvidence = Callable[[frames.EvidenceQuery], Awaitable[Iterable[bytes]]]
"""Returns messages of banyandb.fodc.v1; raises NoAnswerError."""
ReadConfiguration = Callable[[int], Awaitable[frames.Configuration]]
"""Takes the query id; raises NoAnswerError."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers queries from the recorder and the node's configuration."""

    history: Recorder
    configuration: ReadConfiguration
    evidence: ReadEvidence | None = None

    async def frames_for(self, query: frames.Query) -> AsyncIterator[frames.AgentFrame]:
        """Yield the frames of the answer; a query that fails gets QueryFailed as its last frame."""
        try:
            async for frame in self._frames(query):
                yield frame
        except NoAnswerError as error:
            yield frames.QueryFailed(query.query_id, error.reason, str(error))
        except Exception as error:  # noqa: BLE001 - one bad answer must not cost the connection
            message = f"{type(error).__name__}: {error}"
            yield frames.QueryFailed(query.query_id, Reason.INTERNAL, message)

    async def _frames(self, query: frames.Query) -> AsyncIterator[frames.AgentFrame]:
        match query:
            case frames.MetricsQuery():
                parts: Iterator[frames.AgentFrame] = self._pages(query)
            case frames.WindowQuery():
                parts = self._window(query)
            case frames.ConfigurationQuery():
                yield await self.configuration(query.query_id)
                return
            case (
                frames.TopologyQuery()
                | frames.LifecycleQuery()
                | frames.CrashesQuery()
                | frames.RegistryQuery()
            ):
                if self.evidence is None:
                    raise NoAnswerError(Reason.UNSUPPORTED, "this agent tells no evidence")
                parts = evidence_parts(query.query_id, await self.evidence(query))
        for part in parts:
            yield part
            await asyncio.sleep(0)

    def _pages(self, query: frames.MetricsQuery) -> Iterator[frames.MetricsPage]:
        latest = self.history.latest()
        pages = list(split_blocks(latest.blocks, PAGE_BYTES))
        for number, families in enumerate(pages, start=1):
            last = number == len(pages)
            yield frames.MetricsPage(query.query_id, latest.at_ms, families, last)

    def _window(self, query: frames.WindowQuery) -> Iterator[frames.WindowPart]:
        if query.end_ms < query.start_ms:
            text = f"window ends ({query.end_ms}) before it starts ({query.start_ms})"
            raise NoAnswerError(Reason.BAD_REQUEST, text)
        for piece in self.history.window(query.start_ms, query.end_ms):
            yield from window_parts(query.query_id, piece)
        yield frames.WindowPart(query.query_id, 0, (), (), b"", last=True)


def evidence_parts(
    query_id: int, messages: Iterable[bytes], limit_bytes: int = PART_BYTES
) -> Iterator[frames.Evidence]:
    """Yield messages in pieces of at most `limit_bytes`, and an empty one that ends the answer."""
    for message in messages:
        for at in range(0, len(message), limit_bytes):
            data = message[at : at + limit_bytes]
            yield frames.Evidence(query_id, data, whole=at + limit_bytes >= len(message))
    yield frames.Evidence(query_id, b"", last=True)


def split_blocks(
    blocks: Iterable[FamilyBlock], limit_bytes: int
) -> Iterator[tuple[FamilyBlock, ...]]:
    """Group family blocks into pages of about `limit_bytes`; at least one page, maybe empty.

    A family that is larger than a page by itself is divided between lines.
    """
    page: list[FamilyBlock] = []
    size = 0
    for family in _families(blocks, limit_bytes):
        cost = len(family.text) + len(family.help) + _FAMILY_OVERHEAD_BYTES
        if page and size + cost > limit_bytes:
            yield tuple(page)
            page, size = [], 0
        page.append(family)
        size += cost
    yield tuple(page)


def _families(blocks: Iterable[FamilyBlock], limit_bytes: int) -> Iterator[FamilyBlock]:
    for block in blocks:
        if len(block.text) <= limit_bytes:
            yield block
            continue
        for text in _divided(block.text, limit_bytes):
            yield replace(block, text=text, samples=text.count(b"\n"))


def _divided(text: bytes, limit_bytes: int) -> Iterator[bytes]:
    start = 0
    while start < len(text):
        end = len(text)
        if end - start > limit_bytes:
            within = text.rfind(b"\n", start, start + limit_bytes)
            beyond = text.find(b"\n", start + limit_bytes)
            end = 1 + (within if within >= 0 else beyond)
        yield text[start:end]
        start = end


def window_parts(
    query_id: int, piece: WindowColumns, limit_bytes: int = PART_BYTES
) -> Iterator[frames.WindowPart]:
    """Yield a piece of history as parts whose values are at most about `limit_bytes`.

    The first part of a list of series describes it, the others name it by its id.
    """
    points = len(piece.timestamps_ms)
    if not points or not piece.series:
        return
    rows = min(points, limit_bytes // 8)
    height = max(1, limit_bytes // (8 * rows))
    for first in range(0, len(piece.series), height):
        series = piece.series[first : first + height]
        schema_id = schema_id_of(piece.source, series)
        for start in range(0, points, rows):
            times = tuple(piece.timestamps_ms[start : start + rows])
            values = _rectangle(
                piece.values, points, range(first, first + len(series)), start, rows
            )
            described = () if start else series
            yield frames.WindowPart(query_id, schema_id, described, times, values)


def _rectangle(values: "array[float]", points: int, series: range, start: int, rows: int) -> bytes:
    if rows >= points:
        cut = values[series.start * points : series.stop * points]
    else:
        cut = array("d")
        for place in series:
            at = place * points
            cut += values[at + start : at + min(start + rows, points)]
    if sys.byteorder == "big":
        cut.byteswap()
    return cut.tobytes()


def schema_id_of(source: str, series: Iterable[Series]) -> int:
    """Return 64 bits that identify a list of series; never 0, which marks the empty list."""
    digest = hashlib.blake2b(source.encode(), digest_size=8)
    for one in series:
        digest.update(repr((one.name, one.labels, int(one.type), one.help)).encode())
    return int.from_bytes(digest.digest(), "little") or 1
