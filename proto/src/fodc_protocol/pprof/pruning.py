# SPDX-License-Identifier: Apache-2.0
"""The frames that a profile itself calls uninteresting: `drop_frames` and `keep_frames`.

The one idea: the stack is cut below the frame that matches, seen from the root, once a frame of
the program has been seen; that is what `go tool pprof` does before any report. Expressions come
from whoever made the profile, so only those are run whose cost is bounded.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from fodc_protocol.errors import CorruptProfileError

_LONGEST_EXPRESSION: Final = 8192
_LONGEST_NAME: Final = 1024
_MOST_REPEATS: Final = 2
_MOST_CHOICES: Final = 6
_ARGUMENTS: Final = re.compile(r"\(anonymous namespace\)|operator\(\)|(\()")
_SIGN: Final = re.compile(
    r"\\.|\[\^?\]?(?:[^\]\\]|\\.)*\]|\)[*+{]|[|()*+?]|\{\d*,?\d*\}|[^|()*+?\\\[{]+|.", re.DOTALL
)
_PYTHON_ONLY: Final = re.compile(r"\(\?(?:[=!>(#]|<[=!])|\\[1-9]|[*+?}]\+")
_GO_ONLY: Final = re.compile(r"\\[zQECpP]|\[\[:")

IsDropped: TypeAlias = Callable[[str], bool]


def dropped_by(drop: str, keep: str) -> IsDropped | None:
    """Return which function names are dropped, None when the profile drops none.

    Raises CorruptProfileError for an expression that could run for long.
    """
    if not drop:
        return None
    try:
        dropping = _compiled("drop_frames", drop)
        keeping = _compiled("keep_frames", keep) if keep else None
    except re.error:
        return None  # As Go's tool, which goes on without both.
    known: dict[str, bool] = {}

    def is_dropped(name: str) -> bool:
        if name not in known:
            bare = _without_arguments(name)
            fits = bool(name) and len(bare) <= _LONGEST_NAME and dropping.fullmatch(bare)
            known[name] = bool(fits) and not (keeping and keeping.fullmatch(bare))
        return known[name]

    return is_dropped


def _compiled(field: str, expression: str) -> re.Pattern[str]:
    if len(expression) > _LONGEST_EXPRESSION or not _is_cheap(expression):
        raise CorruptProfileError(
            f"{field} of the profile is no expression that is run here: {expression[:80]!r}; "
            "open it with `go tool pprof`"
        )
    if found := _PYTHON_ONLY.search(expression):
        raise re.error(f"{found[0]} is unknown to Go")
    return re.compile(f"(?:{expression})")


def _is_cheap(expression: str) -> bool:
    """Say whether each outer alternative has few repeats and choices, and none inside another.

    Go's engine needs time by the length alone; Python's tries all ways, so these are counted.
    """
    depth = repeats = choices = 0
    for sign in _SIGN.findall(expression):
        if sign == "|" and depth == 0:
            repeats = choices = 0
        elif sign[0] == ")" and len(sign) > 1:
            return False
        elif sign in {"(", ")"}:
            depth += 1 if sign == "(" else -1
        elif sign in {"*", "+"} or (sign[0] == "{" and len(sign) > 1):
            repeats += 1
        elif sign in {"|", "?"}:
            choices += 1
        if repeats > _MOST_REPEATS or choices > _MOST_CHOICES:
            return False
    return _GO_ONLY.search(expression) is None


def _without_arguments(name: str) -> str:
    """Return a C++ name without its argument list, and any name without a leading dot."""
    bare = name.removeprefix(".")
    for found in _ARGUMENTS.finditer(bare):
        if found[1]:
            return bare[: found.start()]
    return bare


def pruned_places(
    frames: Mapping[int, Sequence[str]], is_dropped: IsDropped
) -> dict[int, tuple[str, ...]]:
    """Return what is left of each location that holds a dropped frame (names, innermost first)."""
    left: dict[int, tuple[str, ...]] = {}
    for place, names in frames.items():
        for index in range(len(names) - 1, -1, -1):
            if is_dropped(names[index]):
                left[place] = tuple(names[index + 1 :])
                break
    return left


def kept_stack(places: Sequence[int], left: Mapping[int, Sequence[str]]) -> Sequence[int]:
    """Return the part of a stack (leaf first) that is shown, given what is left of locations."""
    seen_program = False
    for index in range(len(places) - 1, -1, -1):
        if places[index] not in left:
            seen_program = True
        elif seen_program:
            return places[index:] if left[places[index]] else places[index + 1 :]
    return places
