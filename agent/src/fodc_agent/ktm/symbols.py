# SPDX-License-Identifier: Apache-2.0
"""Names of a program's functions, from its file: Go's own table, else the symbols of ELF.

The one idea: of a file of a hundred megabytes only those bytes are read that the addresses need. Go
keeps its table of functions (.gopclntab) in stripped programs too.
Layouts: elf(5); Go's debug/gosym, versions 1.18 and newer.
"""

import struct
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from fodc_protocol.lean import dataclass

Read = Callable[[int, int], bytes]
"""Returns so many bytes from an offset of a file, fewer at its end; raises OSError."""

_ELF: Final = b"\x7fELF\x02\x01"
_LOADED: Final = 1
_EXECUTABLE: Final = 1
_FUNCTION: Final = 2
_GO_TABLES: Final = (0xFFFFFFF0, 0xFFFFFFF1)
_MOST_SECTIONS: Final = 512
_MOST_SYMBOLS_BYTES: Final = 16 << 20
_SYMBOL: Final = struct.Struct("<IB3sQQ")
_PIECE_BYTES: Final = _SYMBOL.size * 2048
_LONGEST_NAME: Final = 256


class NoSymbolsError(ValueError):
    """The file is no ELF file of 64 bits, or has no table of functions that is known here."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """A piece of a file in the memory of a process."""

    start: int
    end: int
    offset: int
    path: str


def parse_maps(text: str) -> list[Mapped]:
    """Return what of /proc/<pid>/maps is executable and a file; other lines are passed over."""
    found: list[Mapped] = []
    for line in text.splitlines():
        words = line.split(None, 5)
        if len(words) == 6 and "x" in words[1] and words[5].startswith("/"):
            start, _, end = words[0].partition("-")
            path = words[5].removesuffix(" (deleted)")
            found.append(Mapped(int(start, 16), int(end, 16), int(words[2], 16), path))
    return found


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    address: int
    offset: int
    size: int
    link: int


@dataclass(frozen=True, slots=True)
class _Segment:
    offset: int
    address: int
    size: int


@dataclass(frozen=True, slots=True)
class _Elf:
    sections: tuple[_Section, ...]
    segments: tuple[_Segment, ...]

    def section(self, name: str) -> _Section | None:
        return next((one for one in self.sections if one.name == name), None)

    def address_of(self, offset: int) -> int | None:
        for segment in self.segments:
            if segment.offset <= offset < segment.offset + segment.size:
                return offset - segment.offset + segment.address
        return None


def names_in(read: Read, offsets: Iterable[int]) -> Mapping[int, str]:
    """Return the function at each offset of a file where it is known.

    Raises NoSymbolsError and OSError.
    """
    try:
        elf = _parse_elf(read)
        wanted = {place: at for at in offsets if (place := elf.address_of(at)) is not None}
        found = _go_names(read, elf, wanted) or _elf_names(read, elf, wanted)
    except (struct.error, IndexError) as error:
        raise NoSymbolsError(f"the file is cut or damaged: {error}") from error
    if not found and wanted:
        raise NoSymbolsError("the file has neither Go's table of functions nor symbols")
    return {wanted[place]: name for place, name in found.items()}


def _parse_elf(read: Read) -> _Elf:
    head = read(0, 64)
    if not head.startswith(_ELF):
        raise NoSymbolsError("no ELF file of 64 bits")
    segments_at, sections_at = struct.unpack_from("<QQ", head, 32)
    segment_bytes, segments, section_bytes, sections, names = struct.unpack_from("<5H", head, 54)
    table = read(sections_at, section_bytes * min(sections, _MOST_SECTIONS))
    plain = [
        struct.unpack_from("<IIQQQQI", table, place)
        for place in range(0, len(table) - 63, section_bytes or 64)
    ]
    texts = read(plain[names][4], min(plain[names][5], 1 << 16)) if names < len(plain) else b""
    heads = read(segments_at, segment_bytes * min(segments, _MOST_SECTIONS))
    return _Elf(
        tuple(_Section(_text(texts, one[0]), one[3], one[4], one[5], one[6]) for one in plain),
        tuple(_segments(heads, segment_bytes or 56)),
    )


def _segments(heads: bytes, size: int) -> Iterable[_Segment]:
    for place in range(0, len(heads) - 55, size):
        kind, flags, offset, address, _, file_bytes = struct.unpack_from("<IIQQQQ", heads, place)
        if kind == _LOADED and flags & _EXECUTABLE:
            yield _Segment(offset, address, file_bytes)


def _text(table: bytes, at: int) -> str:
    return table[at : table.find(b"\0", at)].decode("utf-8", "replace")


# ---- Go ---------------------------------------------------------------------------------------


def _go_names(read: Read, elf: _Elf, wanted: Iterable[int]) -> dict[int, str]:
    section = elf.section(".gopclntab") or elf.section(".data.rel.ro.gopclntab")
    if section is None:
        return {}
    head = read(section.offset, 72)
    if struct.unpack_from("<I", head)[0] not in _GO_TABLES:
        return {}
    functions, _, text_at, names, _, _, _, table = struct.unpack_from("<8Q", head, 8)
    if not text_at:
        code = elf.section(".text")
        text_at = code.address if code is not None else 0
    go = _GoTable(read, section.offset + table, functions, text_at, section.offset + names)
    found = ((address, go.name_at(address)) for address in wanted)
    return {address: name for address, name in found if name}


@dataclass(frozen=True, slots=True)
class _GoTable:
    """Entries of two numbers each: where a function begins in the text, where its record is."""

    read: Read
    table: int
    functions: int
    text_at: int
    names: int

    def name_at(self, address: int) -> str:
        low, high = 0, self.functions
        wanted = address - self.text_at
        if not (self.functions and self._entry(0)[0] <= wanted < self._entry(high)[0]):
            return ""
        while high - low > 1:
            middle = (low + high) // 2
            if self._entry(middle)[0] <= wanted:
                low = middle
            else:
                high = middle
        record = self.read(self.table + self._entry(low)[1], 8)
        name = self.read(self.names + struct.unpack("<Ii", record)[1], _LONGEST_NAME)
        return _text(name + b"\0", 0)

    def _entry(self, place: int) -> tuple[int, int]:
        # Behind the last entry there is only where the text ends.
        raw = self.read(self.table + 8 * place, 8)
        begins, record = struct.unpack("<II", raw.ljust(8, b"\0"))
        return begins, record


# ---- ELF --------------------------------------------------------------------------------------


def _elf_names(read: Read, elf: _Elf, wanted: Iterable[int]) -> dict[int, str]:
    section = elf.section(".symtab") or elf.section(".dynsym")
    if section is None:
        return {}
    texts = elf.sections[section.link]
    found: dict[int, str] = {}
    for address, (value, size, name) in _nearest(read, section, sorted(wanted)).items():
        if address < value + max(size, 1):
            raw = read(texts.offset + name, _LONGEST_NAME)
            found[address] = _text(raw + b"\0", 0)
    return found


def _nearest(
    read: Read, section: _Section, wanted: Sequence[int]
) -> dict[int, tuple[int, int, int]]:
    """Return for each address the last symbol that begins before it, as value, size and name.

    A table is read in pieces and nothing of it is kept, so that a large one costs no memory.
    """
    best: list[tuple[int, int, int]] = [(0, 0, 0)] * len(wanted)
    for at in range(0, min(section.size, _MOST_SYMBOLS_BYTES), _PIECE_BYTES):
        piece = read(section.offset + at, min(_PIECE_BYTES, section.size - at))
        for name, info, _, value, size in _SYMBOL.iter_unpack(_whole(piece, _SYMBOL.size)):
            if info & 0xF == _FUNCTION and (place := bisect_left(wanted, value)) < len(wanted):
                best[place] = max(best[place], (value, size, name))
    for place in range(1, len(best)):
        best[place] = max(best[place], best[place - 1])
    return dict(zip(wanted, best, strict=True))


def _whole(data: bytes, size: int) -> bytes:
    return data[: len(data) // size * size]
