# SPDX-License-Identifier: Apache-2.0
"""What is hot: the table of functions and the folded stacks of a profile.

The one idea: figures are those of `go tool pprof -top`, so that nobody needs Go to read them.
"""

from collections.abc import Iterator
from typing import TypeAlias

from fodc_protocol.lean import dataclass
from fodc_protocol.pprof.contents import MAX_PLAIN_BYTES, Contents
from fodc_protocol.pprof.pruning import dropped_by, kept_stack, pruned_places

_Stack: TypeAlias = tuple[str, ...]
"""Function names, leaf first."""


@dataclass(frozen=True, slots=True)
class HotFunction:
    """One line of a "top" table: values of the function alone (flat) and with callees (cum)."""

    name: str
    file: str
    flat: int
    cum: int
    flat_percent: float
    cum_percent: float


def hottest(
    data: bytes,
    *,
    value_index: int | str | None = None,
    count: int = 20,
    max_bytes: int = MAX_PLAIN_BYTES,
) -> list[HotFunction]:
    """Return the functions with the highest flat value, as `go tool pprof -top` counts them.

    `value_index` is a column's number or kind ("alloc_space"); by default the profile's own
    default, else the last column. Raises CorruptProfileError, ValueError for an unknown column.
    """
    contents = Contents(keep_stacks=True)
    contents.read(data, max_bytes)
    flat: dict[str, int] = {}
    cum: dict[str, int] = {}
    total = 0
    for stack, value in _valued_stacks(contents, value_index):
        total += abs(value)
        if stack:
            flat[stack[0]] = flat.get(stack[0], 0) + value
        for name in set(stack):
            cum[name] = cum.get(name, 0) + value
    order = sorted(cum, key=lambda name: (-abs(flat.get(name, 0)), -abs(cum[name]), name))
    files = _files(contents)
    share = 100 / total if total else 0.0
    return [
        HotFunction(
            name=name,
            file=files.get(name, ""),
            flat=flat.get(name, 0),
            cum=cum[name],
            flat_percent=flat.get(name, 0) * share,
            cum_percent=cum[name] * share,
        )
        for name in order[:count]
    ]


def folded(
    data: bytes, *, value_index: int | str | None = None, max_bytes: int = MAX_PLAIN_BYTES
) -> dict[str, int]:
    """Return stacks as "root;...;leaf" with their summed values, the input of flame graphs.

    Raises like `hottest`.
    """
    contents = Contents(keep_stacks=True)
    contents.read(data, max_bytes)
    stacks: dict[str, int] = {}
    for stack, value in _valued_stacks(contents, value_index):
        text = ";".join(name.replace(";", ":") for name in reversed(stack))
        stacks[text] = stacks.get(text, 0) + value
    return stacks


def _files(contents: Contents) -> dict[str, str]:
    """Return the file of each function name, the first one that is not empty."""
    found: dict[str, str] = {}
    for name, file in contents.functions.values():
        text = contents.text(name)
        found[text] = found.get(text) or contents.text(file)
    return found


def _valued_stacks(
    contents: Contents, value_index: int | str | None
) -> Iterator[tuple[_Stack, int]]:
    """Yield each stack with its value in the chosen column, zeros left out."""
    column = _column(contents, value_index)
    frames = {place: _frames(contents, place) for place in contents.locations}
    numbers = contents.numbers
    drop, keep = contents.text(numbers.get(7, 0)), contents.text(numbers.get(8, 0))
    is_dropped = dropped_by(drop, keep)
    left = pruned_places(frames, is_dropped) if is_dropped else {}
    frames |= {place: names for place, names in left.items() if names}
    for places, values in contents.stacks:
        if values[column]:
            stack = tuple(name for place in kept_stack(places, left) for name in frames[place])
            yield stack, values[column]


def _frames(contents: Contents, place: int) -> _Stack:
    """Return the functions at a location, innermost inlined first."""
    functions, address = contents.locations[place]
    if not functions:
        return (f"0x{address:x}",)
    names = (contents.text(contents.functions[identity][0]) for identity in functions)
    return tuple(name or "<unknown>" for name in names)


def _column(contents: Contents, value_index: int | str | None) -> int:
    kinds = [kind.kind for kind in contents.value_types()]
    if value_index is None:
        default = contents.text(contents.numbers.get(14, 0))
        return kinds.index(default) if default in kinds else len(kinds) - 1
    if isinstance(value_index, str) and value_index in kinds:
        return kinds.index(value_index)
    if isinstance(value_index, int) and 0 <= value_index < len(kinds):
        return value_index
    raise ValueError(f"value_index {value_index!r}: this profile has {', '.join(kinds)}")
