# SPDX-License-Identifier: Apache-2.0
"""Secrets that show by the name before them: `password=x`, `"token": "x"`, `--pw x`, YAML blocks.

The one idea: the scanner goes from separator to separator, looks back at most a name's length and
forward over one value; what it masked it never looks at again, and what it leaves is short. So the
work grows with the text alone, whatever the text is made of.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from fodc_protocol.redaction.names import HARMLESS_VALUES, Meaning, holds_sections, meaning_of
from fodc_protocol.redaction.shapes import MASK
from fodc_protocol.redaction.spans import (
    Span,
    below_at,
    end_of_group,
    end_of_line,
    end_of_word,
    lines_below,
    quoted,
)

_LONGEST_NAME: Final = 100
_SEPARATOR: Final = re.compile(r"[=:]")
_NAME_REVERSED: Final = re.compile(r"[\w.-]{1,80}")
_GAP: Final = re.compile(r"[=>~]{0,2}[ \t]*+")
_LOGIN: Final = re.compile(r"\\{0,16}[\"'`]?[\w.@+-]{1,64}:(?!//)")
_LINE_START: Final = re.compile(r"[ \t]{0,80}(?:- )?[\"']?")
# `--name value` of a command line, and `"--name", "value"` of one that is written as a list.
_FLAG: Final = re.compile(
    r"(?<![\w-])--?(?P<name>[A-Za-z][\w.-]{0,79})\\{0,16}"
    r"(?:[\"'],\s{0,8}(?=\\{0,16}[\"'])|[\"']?[ \t]{1,8}(?!--[\w-]{1,80}=))"
)
_INNER_KEY: Final = re.compile(r"""[ \t]{0,80}(?:- )?["']?[\w.-]{1,80}["']?[ \t]{0,4}:[ \t\r\n]""")
_AROUND: Final = " \t\r\n\"'`\\"
_BEHIND: Final = "])},.;"

_Find: TypeAlias = Callable[[str], Iterator[Span]]


def without_secret_pairs(text: str) -> str:
    """Mask the values behind secret names, wherever they stand in `text`."""
    return _masked(_masked(text, _values_of_pairs), _values_of_flags)


def _masked(text: str, find: _Find) -> str:
    parts: list[str] = []
    shown = 0
    for start, end in find(text):
        parts += [text[shown:start], MASK]
        shown = end
    return "".join([*parts, text[shown:]]) if parts else text


def flag_meaning(name: str, value: str = "") -> Meaning:
    """Say what a flag demands for its value; `-p` is everybody's short form of --password."""
    bare = name.lstrip("-")
    return Meaning.SECRET if bare == "p" else meaning_of(bare, value)


def is_worth_hiding(value: str) -> bool:
    """Say whether a secret's value is more than a switch, a blank or a mask."""
    bare = value.strip(_AROUND)
    return bare.lower() not in HARMLESS_VALUES and bare.rstrip(_BEHIND) not in {"", MASK}


# ---- name=value, name: value ----------------------------------------------------------------


def _values_of_pairs(text: str) -> Iterator[Span]:
    """Yield where values lie that must not be shown, in order and apart from each other."""
    behind = looked_at = 0
    for separator in _SEPARATOR.finditer(text):
        at = separator.start()
        if at < behind:
            continue
        name, begins_at = _name_before(text, max(looked_at, at - _LONGEST_NAME), at)
        looked_at = at + 1
        if name and (span := _value_of_pair(text, name, begins_at, at)):
            yield span
            behind = looked_at = span[1]


def _name_before(text: str, floor: int, at: int) -> tuple[str, int]:
    """Return the name that ends at a separator and where it begins, ("", at) for none."""
    before = text[floor:at].rstrip(" \t\"'`\\")
    found = _NAME_REVERSED.match(before[::-1])
    if found is None:
        return "", at
    return found[0][::-1], floor + len(before) - found.end()


def _value_of_pair(text: str, name: str, begins_at: int, separator_at: int) -> Span | None:
    meaning = meaning_of(name, MASK)
    if meaning is Meaning.PLAIN or text.startswith("//", separator_at + 1):
        return None
    gap = _GAP.match(text, separator_at + 1)
    at = gap.end() if gap else separator_at + 1
    if meaning is Meaning.LOGIN:
        return password_of_login(text, at)
    below = below_at(text, separator_at)
    if holds_sections(name) and (text.startswith("{", at) or _INNER_KEY.match(text, below or at)):
        return None
    if below:
        span = lines_below(text, begins_at, below)
    else:
        span = quoted(text, at) or _unquoted(text, meaning, begins_at, separator_at, at)
    value = text[span[0] : span[1]]
    hidden = is_worth_hiding(value) and meaning_of(name, _bare(value)) is not Meaning.PLAIN
    return span if hidden else None


def _bare(value: str) -> str:
    return value.strip(_AROUND).rstrip(_BEHIND)


def _unquoted(text: str, meaning: Meaning, begins_at: int, separator_at: int, at: int) -> Span:
    if text[at : at + 1] and text[at] in "[{":
        return at, end_of_group(text, at)
    if meaning is Meaning.LINE or (at > separator_at + 1 and _begins_its_line(text, begins_at)):
        return at, end_of_line(text, begins_at, at)
    return at, end_of_word(text, at)


def _begins_its_line(text: str, begins_at: int) -> bool:
    """Say whether `name: value` is a line of a configuration file, where blanks belong to it."""
    floor = max(begins_at - 90, 0)
    line_at = text.rfind("\n", floor, begins_at) + 1
    if line_at == 0 and floor > 0:
        return False
    start = _LINE_START.match(text, line_at)
    return start is not None and start.end() == begins_at


def password_of_login(text: str, at: int) -> Span | None:
    """Return where the password of `user:password` lies that begins at `at`, None for none."""
    login = _LOGIN.match(text, at)
    if login is None:
        return None
    around = quoted(text, at)
    end = around[1] if around else end_of_word(text, login.end())
    return (login.end(), end) if is_worth_hiding(text[login.end() : end]) else None


# ---- --name value ---------------------------------------------------------------------------


def _values_of_flags(text: str) -> Iterator[Span]:
    behind = 0
    for flag in _FLAG.finditer(text):
        if flag.start() < behind or (span := _value_of_flag(text, flag)) is None:
            continue
        yield span
        behind = span[1]


def _value_of_flag(text: str, flag: re.Match[str]) -> Span | None:
    meaning = flag_meaning(flag["name"], MASK)
    if meaning is Meaning.PLAIN:
        return None
    if meaning is Meaning.LOGIN:
        return password_of_login(text, flag.end())
    span = quoted(text, flag.end()) or (flag.end(), end_of_word(text, flag.end()))
    value = text[span[0] : span[1]]
    hidden = flag_meaning(flag["name"], _bare(value)) is not Meaning.PLAIN
    return span if hidden and is_worth_hiding(value) else None
