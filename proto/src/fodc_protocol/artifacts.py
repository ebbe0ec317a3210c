# SPDX-License-Identifier: Apache-2.0
"""What describes a captured result, and how its bytes are put together again.

The one idea: a result is complete only when size and SHA-256 agree with the manifest; until then
each side knows the offset at which to resume. Pure: writing the accepted bytes is the caller's.
"""

import hashlib
import re
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Final, TypeAlias

from fodc_protocol.errors import ArtifactError, Reason

CHUNK_BYTES: Final = 1 << 20
"""Usual chunk: 1 MiB, as in the existing contract."""
_REMEMBERED_CHUNKS: Final = 256
_SHA256: Final = re.compile(r"[0-9a-f]{64}")

Json: TypeAlias = str | int | bool | list[str] | None


# ---- manifest -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known about one result; stored beside it and shown to people.

    Times are Unix milliseconds. `samples` is None where counting makes no sense (a trace, a
    configuration). `empty` marks a result without a single sample: never a silent success.
    """

    artifact_id: str
    request_id: str
    command_id: str
    node: str
    pod: str
    role: str
    profile: str
    format: str
    size_bytes: int
    sha256: str
    samples: int | None
    started_at_ms: int
    finished_at_ms: int
    duration_ms: int
    empty: bool = False
    truncated: bool = False
    warnings: tuple[str, ...] = ()
    agent_version: str = ""
    incarnation: str = ""
    namespace: str = ""

    def to_dict(self) -> dict[str, Json]:
        """Return a JSON-able dictionary with the fields' own names."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        return {**plain, "warnings": list(self.warnings)}

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> "Manifest":
        """Read what `to_dict` wrote.

        Raises ArtifactError (BadRequest) that names the field for a missing, unknown or wrongly
        typed one, a negative number or a malformed checksum.
        """
        unknown = sorted(set(data) - _FIELDS)
        if unknown:
            raise _bad(f"unknown field {unknown[0]!r}")
        missing = sorted(_REQUIRED - set(data))
        if missing:
            raise _bad(f"field {missing[0]!r} is missing")
        values = {name: _field(name, value) for name, value in data.items()}
        return cls(**values)  # type: ignore[arg-type]  # kinds were checked field by field


_NUMBERS: Final = frozenset(
    {"size_bytes", "samples", "started_at_ms", "finished_at_ms", "duration_ms"}
)
_FLAGS: Final = frozenset({"empty", "truncated"})
_FIELDS: Final = frozenset(item.name for item in fields(Manifest))
_REQUIRED: Final = frozenset(item.name for item in fields(Manifest) if item.default is MISSING)


def _bad(what: str) -> ArtifactError:
    return ArtifactError(f"manifest: {what}", reason=Reason.BAD_REQUEST)


def _field(name: str, value: object) -> object:
    if name == "warnings":
        return _texts(name, value)
    if value is None and name == "samples":
        return None
    kind = int if name in _NUMBERS else bool if name in _FLAGS else str
    if type(value) is not kind:
        raise _bad(f"field {name!r} must be of type {kind.__name__}, got {_shown(value)}")
    if isinstance(value, int) and value < 0:
        raise _bad(f"field {name!r} must not be negative, got {value}")
    if name == "sha256" and not (isinstance(value, str) and _SHA256.fullmatch(value)):
        raise _bad(f"field 'sha256' must be 64 lower-case hex digits, got {_shown(value)}")
    return value


def _shown(value: object) -> str:
    return repr(value)[:80]


def _texts(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise _bad(f"field {name!r} must be a list of texts, got {_shown(value)}")
    return tuple(value)


# ---- chunks ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a result at a byte offset, with its own CRC-32."""

    offset_bytes: int
    data: bytes
    crc32: int
    last: bool


def chunks_of(
    data: bytes, *, chunk_bytes: int = CHUNK_BYTES, start_bytes: int = 0
) -> Iterator[Chunk]:
    """Yield `data` from `start_bytes` on; always at least one chunk, the last is marked."""
    at = start_bytes
    while True:
        piece = data[at : at + chunk_bytes]
        last = at + len(piece) >= len(data)
        yield Chunk(at, piece, zlib.crc32(piece), last)
        if last:
            return
        at += len(piece)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The chunk continues the result: write its data at the end."""

    next_offset_bytes: int


@dataclass(frozen=True, slots=True)
class Repeated:
    """The same chunk was accepted before: acknowledge again, write nothing."""

    next_offset_bytes: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The chunk or the whole does not fit; the sender may resume at `next_offset_bytes`."""

    reason: Reason
    message: str
    next_offset_bytes: int


@dataclass(frozen=True, slots=True)
class Complete:
    """Size and checksum are as announced."""

    size_bytes: int
    sha256: str


class Assembly:
    """Checks the chunks of one result in order and keeps a running SHA-256.

    Holds no content: after `Accepted` the caller writes the chunk's data. State changes only on
    acceptance, so a refused chunk can simply be sent again.
    """

    def __init__(self, *, max_bytes: int) -> None:
        """Accept at most `max_bytes` in all."""
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._digest = hashlib.sha256()
        self._recent: OrderedDict[int, tuple[int, int]] = OrderedDict()

    @property
    def next_offset_bytes(self) -> int:
        """Offset of the next byte that is wanted: where a sender resumes."""
        return self._size_bytes

    def restore(self, pieces: Iterable[bytes]) -> None:
        """Take in what was written before a restart; for a fresh assembly only."""
        for piece in pieces:
            self._digest.update(piece)
            self._size_bytes += len(piece)

    def accept(self, offset_bytes: int, data: bytes, crc32: int) -> Accepted | Repeated | Refused:
        """Check one chunk: damage, size, then its place (next, repeated, overlap or gap)."""
        if zlib.crc32(data) != crc32:
            return self._refused(
                Reason.CHECKSUM_MISMATCH,
                f"chunk at offset {offset_bytes} is damaged: its CRC-32 differs",
            )
        if self._is_repeated(offset_bytes, data, crc32):
            return Repeated(self._size_bytes)
        if offset_bytes != self._size_bytes:
            what = "leaves a gap" if offset_bytes > self._size_bytes else "overlaps"
            return self._refused(
                Reason.BAD_REQUEST,
                f"chunk at offset {offset_bytes} {what}: {self._size_bytes} is next",
            )
        if self._size_bytes + len(data) > self._max_bytes:
            return self._refused(
                Reason.TOO_LARGE,
                f"{self._size_bytes + len(data)} bytes are more than the {self._max_bytes} allowed",
            )
        self._take(offset_bytes, data, crc32)
        return Accepted(self._size_bytes)

    def finish(self, size_bytes: int, sha256: str) -> Complete | Refused:
        """Compare with what the manifest announced."""
        if size_bytes != self._size_bytes:
            return self._refused(
                Reason.TRUNCATED if size_bytes > self._size_bytes else Reason.TOO_LARGE,
                f"{self._size_bytes} bytes arrived, {size_bytes} were announced",
            )
        digest = self._digest.hexdigest()
        if digest != sha256.lower():
            return self._refused(
                Reason.CHECKSUM_MISMATCH,
                f"SHA-256 of what arrived is {digest}, announced was {sha256:.64}",
            )
        return Complete(size_bytes, digest)

    def _is_repeated(self, offset_bytes: int, data: bytes, crc32: int) -> bool:
        known = self._recent.get(offset_bytes)
        return known == (len(data), crc32) and offset_bytes < self._size_bytes

    def _take(self, offset_bytes: int, data: bytes, crc32: int) -> None:
        self._digest.update(data)
        self._size_bytes += len(data)
        self._recent[offset_bytes] = (len(data), crc32)
        if len(self._recent) > _REMEMBERED_CHUNKS:
            self._recent.popitem(last=False)

    def _refused(self, reason: Reason, message: str) -> Refused:
        return Refused(reason, message, self._size_bytes)
