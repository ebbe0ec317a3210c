# SPDX-License-Identifier: Apache-2.0
"""Counts by BCC: a program for the distribution's own interpreter, which alone has the module bcc.

`python3 child.py GROUP...` writes a line of JSON when it counts, or what was refused; then it
answers each line of its input: `{"target": [...]}` aims it, `{}` asks for everything counted.

The one idea: BCC is a hundred MiB of compiler, so it is never in the agent. It ends with its input.
"""

import ctypes
import json
import platform
import sys
from pathlib import Path
from typing import ClassVar, Protocol, Union

EVENTS = Path("/sys/kernel/tracing/events/filemap")
CAPSET = {"x86_64": 126, "aarch64": 91}
MAPS = {"sys": ("reads", "advices"), "mm": ("counters",)}


class Record(ctypes.Structure):
    """A value of several numbers, whose fields bcc has read from the programs."""

    _fields_: "ClassVar[list[tuple[str, type]]]"


Value = Union[int, Record]  # noqa: UP007 - 3.9 has no other form
"""A value of one CPU."""


class Table(Protocol):
    """A map as the module bcc has it."""

    Key: "type[ctypes.c_int]"
    Leaf: "type[Record]"

    def __getitem__(self, key: ctypes.c_int) -> "list[Value]": ...
    def __setitem__(self, key: ctypes.c_int, leaf: Record) -> None: ...
    def __len__(self) -> int: ...


def main() -> int:
    """Compile, attach, answer; returns the code of exit."""
    groups = sys.argv[1:]
    try:
        from bcc import BPF  # type: ignore[import-not-found] # noqa: PLC0415 - Debian's, see below

        program = BPF(text=text(), cflags=flags(groups))
    except Exception as error:  # noqa: BLE001 - told, whatever it was
        say({"refused": f"{type(error).__name__}: {error}"[:500]})
        return 1
    give_up_capabilities()
    say({"has_lookups": has_lookups()})
    for line in sys.stdin:
        asked = json.loads(line)
        if "target" in asked:
            aim(program["target"], asked["target"])
        say({name: held(program[name]) for group in groups for name in MAPS[group]})
    return 0


def say(told: "dict[str, object]") -> None:
    """Write a line."""
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def text() -> str:
    """Return the programs; there is no macro of the same name as a map."""
    return Path(__file__).with_name("programs.c").read_text(encoding="ascii")


def has_lookups() -> bool:
    """Whether the kernel tells of reads that ask the page cache."""
    return (EVENTS / "mm_filemap_get_pages").is_dir()


def flags(groups: list[str]) -> list[str]:
    """Return which parts to compile, as this kernel has them."""
    found = [f"-DGROUP_{name.upper()}" for name in groups]
    if has_lookups():
        found.append("-DHAS_LOOKUPS")
    form = EVENTS / "mm_filemap_add_to_page_cache" / "format"
    if form.exists() and " order;" in form.read_text(encoding="ascii"):
        found.append("-DHAS_ORDER")
    return found


def give_up_capabilities() -> None:
    """Keep none: what is open stays open."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    none = (ctypes.c_uint32 * 6)()
    ctypes.CDLL(None).syscall(ctypes.c_long(CAPSET[platform.machine()]), header, none)


def aim(table: "Table", numbers: list[int]) -> None:
    """Write whose events are counted."""
    leaf = table.Leaf()
    for (field, _), number in zip(leaf._fields_, numbers):  # noqa: B905 - 3.9 has no strict
        setattr(leaf, field, number)
    table[table.Key(0)] = leaf


def held(table: "Table") -> list[list[int]]:
    """Return the values of a map by place, each a list of its numbers, summed over all CPUs."""
    return [summed(table[table.Key(place)]) for place in range(len(table))]


def summed(copies: "list[Value]") -> list[int]:
    """Return the sum of each number over all copies."""
    return [sum(column) for column in zip(*map(numbers_of, copies))]  # noqa: B905 - see above


def numbers_of(value: "Value") -> list[int]:
    """Return the numbers of one value."""
    if isinstance(value, int):
        return [value]
    fields = [getattr(value, name) for name, _ in value._fields_]
    return [*fields[0], *fields[1:]]


if __name__ == "__main__":
    sys.exit(main())
