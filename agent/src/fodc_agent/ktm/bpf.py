# SPDX-License-Identifier: Apache-2.0
"""The system calls bpf(2), perf_event_open(2) and capset(2), by number: no library is needed.

The one idea: one function per command that is used, with plain arguments, and an OSError with the
kernel's number for all that it refuses. Layouts: include/uapi/linux/bpf.h, perf_event.h.
"""

import ctypes
import fcntl
import os
import platform
import struct
from collections.abc import Iterator, Mapping
from typing import Final

_NUMBERS: Final[Mapping[str, tuple[int, int, int]]] = {
    # bpf, perf_event_open, capset
    "x86_64": (321, 298, 126),
    "aarch64": (280, 241, 91),
}
_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _MAP_DELETE, _MAP_NEXT_KEY = 0, 1, 2, 3, 4
_PROGRAM_LOAD, _PROGRAM_RUN, _RAW_TRACEPOINT_OPEN = 5, 10, 17
_ARRAY: Final = 2
_SYSCALL_PROGRAM: Final = 31
_SLEEPABLE: Final = 1 << 4
_LICENSE: Final = b"Dual BSD/GPL\0"
_TYPE_SOFTWARE: Final = 1
_TYPE_TRACEPOINT: Final = 2
_DISABLED_FREQUENCY: Final = 1 | 1 << 10
_CLOSE_ON_EXEC: Final = 8
_SET_BPF: Final = 0x40042408
_ENABLE: Final = 0x2400
_DISABLE: Final = 0x2401
_CAPABILITY_VERSION: Final = 0x20080522

_libc: Final = ctypes.CDLL(None, use_errno=True)


def is_known_architecture() -> bool:
    """Whether the numbers of the system calls are known here."""
    return platform.machine() in _NUMBERS


def _call(which: int, *arguments: object) -> int:
    number = _NUMBERS[platform.machine()][which]
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _bpf(command: int, attributes: bytearray) -> int:
    held = (ctypes.c_char * len(attributes)).from_buffer(attributes)
    return _call(0, ctypes.c_int(command), ctypes.byref(held), ctypes.c_uint(len(attributes)))


def _address(buffer: "ctypes.Array[ctypes.c_char]") -> int:
    return ctypes.addressof(buffer)


# ---- maps -------------------------------------------------------------------------------------


def create_array(name: bytes, value_bytes: int) -> int:
    """Return a map of one value; raises OSError."""
    attributes = bytearray(struct.pack("=IIIIIII16s", _ARRAY, 4, value_bytes, 1, 0, 0, 0, name))
    return _bpf(_MAP_CREATE, attributes)


def update(map_descriptor: int, key: bytes, value: bytes) -> None:
    """Write one value; raises OSError."""
    held = ctypes.create_string_buffer(key, len(key))
    given = ctypes.create_string_buffer(value, len(value))
    attributes = struct.pack("=IIQQQ", map_descriptor, 0, _address(held), _address(given), 0)
    _bpf(_MAP_UPDATE, bytearray(attributes))


def lookup(map_descriptor: int, key: bytes, value_bytes: int) -> bytes:
    """Return one value, of a per-CPU map all its copies; raises OSError, ENOENT without one."""
    held = ctypes.create_string_buffer(key, len(key))
    taken = ctypes.create_string_buffer(value_bytes)
    attributes = struct.pack("=IIQQQ", map_descriptor, 0, _address(held), _address(taken), 0)
    _bpf(_MAP_LOOKUP, bytearray(attributes))
    return taken.raw


def keys(map_descriptor: int, key_bytes: int, most: int) -> Iterator[bytes]:
    """Yield at most `most` keys of a map, each before the next is looked for; raises OSError."""
    held: ctypes.Array[ctypes.c_char] | None = None
    for _ in range(most):
        found = ctypes.create_string_buffer(key_bytes)
        before = _address(held) if held is not None else 0
        try:
            _bpf(
                _MAP_NEXT_KEY,
                bytearray(struct.pack("=IIQQQ", map_descriptor, 0, before, _address(found), 0)),
            )
        except FileNotFoundError:
            return
        held = found
        yield found.raw


def delete(map_descriptor: int, key: bytes) -> None:
    """Remove one value; raises OSError."""
    held = ctypes.create_string_buffer(key, len(key))
    _bpf(_MAP_DELETE, bytearray(struct.pack("=IIQQQ", map_descriptor, 0, _address(held), 0, 0)))


# ---- programs ---------------------------------------------------------------------------------


def load_program(kind: int, instructions: bytes) -> int:
    """Load a program that has no map; raises OSError."""
    code = ctypes.create_string_buffer(instructions, len(instructions))
    license_text = ctypes.create_string_buffer(_LICENSE)
    attributes = struct.pack(
        "=IIQQ", kind, len(instructions) // 8, _address(code), _address(license_text)
    )
    return _bpf(_PROGRAM_LOAD, bytearray(attributes))


def load_loader(instructions: bytes, data_map: int) -> int:
    """Load the loader program of a light skeleton; raises OSError."""
    code = ctypes.create_string_buffer(instructions, len(instructions))
    license_text = ctypes.create_string_buffer(_LICENSE)
    maps = ctypes.create_string_buffer(struct.pack("=i", data_map), 4)
    attributes = struct.pack(
        "=IIQQIIQII16sIIIIQIIQIIIIQ",
        *(_SYSCALL_PROGRAM, len(instructions) // 8, _address(code), _address(license_text)),
        *(0, 0, 0, 0, _SLEEPABLE, b"fodc_loader"),
        *(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        _address(maps),
    )
    return _bpf(_PROGRAM_LOAD, bytearray(attributes))


def run(program: int, context: bytearray) -> int:
    """Run a loader program, which writes into `context`; return its result; raises OSError."""
    held = (ctypes.c_char * len(context)).from_buffer(context)
    attributes = bytearray(
        struct.pack(
            "=IIIIQQIIIIQQIIII",
            *(program, 0, 0, 0, 0, 0, 0, 0, len(context), 0, _address(held), 0, 0, 0, 0, 0),
        )
    )
    _bpf(_PROGRAM_RUN, attributes)
    return int(struct.unpack_from("=i", attributes, 4)[0])


def attach_typed(program: int) -> int:
    """Attach a program that knows its tracepoint (`tp_btf`); return its link; raises OSError."""
    return _bpf(_RAW_TRACEPOINT_OPEN, bytearray(struct.pack("=QII", 0, program, 0)))


def attach_raw(program: int, tracepoint: bytes) -> int:
    """Attach a program to a tracepoint by its name; return its link; raises OSError."""
    name = ctypes.create_string_buffer(tracepoint)
    return _bpf(_RAW_TRACEPOINT_OPEN, bytearray(struct.pack("=QII", _address(name), program, 0)))


def attach_tracepoint(program: int, tracepoint_id: int) -> int:
    """Attach a program to a tracepoint of tracefs; return its event; raises OSError."""
    attributes = bytearray(128)
    struct.pack_into("=IIQ", attributes, 0, _TYPE_TRACEPOINT, len(attributes), tracepoint_id)
    event = open_event(attributes, pid=-1, cpu=0)
    try:
        fcntl.ioctl(event, _SET_BPF, program)
        fcntl.ioctl(event, _ENABLE, 0)
    except OSError:
        os.close(event)
        raise
    return event


def open_clock(program: int, cpu: int, frequency_hz: int) -> int:
    """Return a clock of one processor that will run a program; it stands still. Raises OSError."""
    attributes = bytearray(128)
    struct.pack_into(
        "=IIQQQQQ",
        attributes,
        0,
        *(_TYPE_SOFTWARE, len(attributes), 0, frequency_hz, 0, 0, _DISABLED_FREQUENCY),
    )
    event = open_event(attributes, pid=-1, cpu=cpu)
    try:
        fcntl.ioctl(event, _SET_BPF, program)
    except OSError:
        os.close(event)
        raise
    return event


def switch_clock(event: int, *, is_on: bool) -> None:
    """Let a clock run or stand still; raises OSError."""
    fcntl.ioctl(event, _ENABLE if is_on else _DISABLE, 0)


def open_event(attributes: bytearray, *, pid: int, cpu: int) -> int:
    """Open a perf event; raises OSError."""
    held = (ctypes.c_char * len(attributes)).from_buffer(attributes)
    return _call(
        1,
        ctypes.byref(held),
        ctypes.c_int(pid),
        ctypes.c_int(cpu),
        ctypes.c_int(-1),
        ctypes.c_ulong(_CLOSE_ON_EXEC),
    )


# ---- capabilities -----------------------------------------------------------------------------


def set_capabilities(effective: int, permitted: int) -> None:
    """Give up all capabilities of this thread but these masks; raises OSError."""
    head = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION, 0), 8)
    low, high = (1 << 32) - 1, 32
    body = struct.pack(
        "=IIIIII",
        *(effective & low, permitted & low, 0),
        *(effective >> high, permitted >> high, 0),
    )
    _call(2, ctypes.byref(head), ctypes.byref(ctypes.create_string_buffer(body, len(body))))
