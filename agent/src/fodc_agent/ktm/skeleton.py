# SPDX-License-Identifier: Apache-2.0
"""What a blob of `make ktm` holds and how its loader program is spoken with. Pure.

The one idea: a blob is a program that loads programs. It takes a context - a header, one descriptor
for each map, one for each program - and fills in the file descriptors that it made. The form is
libbpf's (`bpf/skel_internal.h`, "light skeleton").
"""

import json
import struct
from collections.abc import Mapping
from typing import Final

from fodc_protocol.lean import dataclass

_HEADER: Final = struct.Struct("=IIIIQ")
_MAP: Final = struct.Struct("=iIQ")
_PROGRAM: Final = struct.Struct("=i")


@dataclass(frozen=True, slots=True)
class Skeleton:
    """One group of programs, not loaded; names in the order of the context."""

    maps: tuple[str, ...]
    programs: tuple[str, ...]
    data: bytes
    instructions: bytes


@dataclass(frozen=True, slots=True)
class Descriptors:
    """File descriptors of what was loaded, by name."""

    maps: Mapping[str, int]
    programs: Mapping[str, int]


def parse_skeleton(blob: bytes) -> Skeleton:
    """Return what a blob holds; raises ValueError for one that is not whole."""
    head, _, rest = blob.partition(b"\n")
    try:
        told = json.loads(head)
        maps, programs = tuple(told["maps"]), tuple(told["programs"])
        data_bytes, instructions_bytes = int(told["data"]), int(told["instructions"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"no blob of kernel telemetry: {error!r}") from error
    if len(rest) != data_bytes + instructions_bytes or instructions_bytes % 8:
        raise ValueError(f"a blob of {len(rest)} bytes says {data_bytes} + {instructions_bytes}")
    return Skeleton(maps, programs, rest[:data_bytes], rest[data_bytes:])


def context_of(skeleton: Skeleton, log_address: int = 0, log_bytes: int = 0) -> bytearray:
    """Return the context that its loader program takes; with a log it tells what it refuses."""
    maps = _MAP.pack(0, 0, 0) * len(skeleton.maps)
    programs = _PROGRAM.pack(0) * len(skeleton.programs)
    size = _HEADER.size + len(maps) + len(programs)
    level = 1 if log_bytes else 0
    head = _HEADER.pack(_padded(size), 0, level, log_bytes, log_address)
    return bytearray((head + maps + programs).ljust(_padded(size), b"\0"))


def descriptors_of(skeleton: Skeleton, context: bytes | bytearray) -> Descriptors:
    """Return what a loader program filled in."""
    place = _HEADER.size
    maps: dict[str, int] = {}
    for name in skeleton.maps:
        maps[name] = _MAP.unpack_from(context, place)[0]
        place += _MAP.size
    programs: dict[str, int] = {}
    for name in skeleton.programs:
        programs[name] = _PROGRAM.unpack_from(context, place)[0]
        place += _PROGRAM.size
    return Descriptors(maps, programs)


def _padded(size: int) -> int:
    return (size + 7) // 8 * 8
