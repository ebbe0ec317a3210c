# SPDX-License-Identifier: Apache-2.0
"""A tar in pieces, of members whose sizes are known before; pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_BLOCK_BYTES: Final = 512
END: Final = bytes(2 * _BLOCK_BYTES)
"""What a tar ends with."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file; `at_s` is a Unix time."""

    name: str
    size_bytes: int
    at_s: int


def head_of(entry: Entry) -> bytes:
    """Return what stands before the bytes of a file."""
    import tarfile  # noqa: PLC0415 - memory that only those pay for who fetch an incident

    info = tarfile.TarInfo(entry.name)
    info.size, info.mtime, info.mode = entry.size_bytes, entry.at_s, 0o640
    return info.tobuf(tarfile.PAX_FORMAT)


def padding_of(entry: Entry) -> bytes:
    """Return what stands behind the bytes of a file."""
    return bytes(-entry.size_bytes % _BLOCK_BYTES)


def length_of(entries: Iterable[Entry]) -> int:
    """Return how many bytes the whole has."""
    sizes = (len(head_of(e)) + e.size_bytes + len(padding_of(e)) for e in entries)
    return sum(sizes) + len(END)
