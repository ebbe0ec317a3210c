# SPDX-License-Identifier: Apache-2.0
"""Loads one group by libbpf and hands its descriptors over: a program that lives for a moment.

`python -m fodc_agent.ktm.libbpf_child SOCKET OBJECT`: SOCKET is the number of a socket, to which
goes one line of JSON, with the names and their descriptors or with what was refused.

The one idea: libbpf takes ten MiB while it works, and none when this process has ended. The
programs live on by their descriptors, in whoever holds them.
"""

import ctypes
import errno
import json
import os
import socket
import sys
from collections.abc import Iterator
from ctypes import c_char_p, c_int, c_void_p
from typing import Final

LIBRARY: Final = "libbpf.so.1"
_FUNCTIONS: Final = {
    "bpf_object__open_file": (c_void_p, (c_char_p, c_void_p)),
    "bpf_object__load": (c_int, (c_void_p,)),
    "bpf_object__next_map": (c_void_p, (c_void_p, c_void_p)),
    "bpf_map__name": (c_char_p, (c_void_p,)),
    "bpf_map__fd": (c_int, (c_void_p,)),
    "bpf_object__next_program": (c_void_p, (c_void_p, c_void_p)),
    "bpf_program__name": (c_char_p, (c_void_p,)),
    "bpf_program__fd": (c_int, (c_void_p,)),
    "libbpf_set_print": (c_void_p, (c_void_p,)),
}


def main() -> int:
    """Load, hand over and end; what was refused is an answer as well."""
    with socket.socket(fileno=int(sys.argv[1])) as line:
        try:
            told, descriptors = _loaded(sys.argv[2])
        except OSError as error:
            told, descriptors = _refused(error), []
        text = json.dumps(told).encode()
        socket.send_fds(line, [text], descriptors)
    return 0


def _refused(error: OSError) -> dict[str, object]:
    # A library that is missing is an OSError without a number.
    return {"code": error.errno or errno.ENOPKG, "refused": error.strerror or str(error)}


def _loaded(path: str) -> tuple[dict[str, object], list[int]]:
    library = ctypes.CDLL(LIBRARY, use_errno=True)
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    library.libbpf_set_print(None)
    opened = library.bpf_object__open_file(os.fsencode(path), None)
    if not opened:
        raise _error(ctypes.get_errno(), "opening")
    if (result := library.bpf_object__load(opened)) != 0:
        raise _error(-result, "loading")
    maps = dict(_named(library, "map", opened))
    programs = dict(_named(library, "program", opened))
    told: dict[str, object] = {"maps": list(maps), "programs": list(programs)}
    return told, [*maps.values(), *programs.values()]


def _error(code: int, step: str) -> OSError:
    return OSError(code, f"{step} by {LIBRARY}: {os.strerror(code)}")


def _named(library: ctypes.CDLL, kind: str, opened: int) -> Iterator[tuple[str, int]]:
    """Yield name and descriptor of each map, or of each program."""
    following, name_of, descriptor_of = (
        getattr(library, f"bpf_{name}")
        for name in (f"object__next_{kind}", f"{kind}__name", f"{kind}__fd")
    )
    one = following(opened, None)
    while one:
        yield name_of(one).decode(), descriptor_of(one)
        one = following(opened, one)


if __name__ == "__main__":
    sys.exit(main())
