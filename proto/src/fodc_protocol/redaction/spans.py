# SPDX-License-Identifier: Apache-2.0
"""How far a value goes: quotes at any depth of escaping, brackets, words, lines and YAML blocks.

The one idea: where it is not clear where a secret ends, it goes on.
"""

import re
from typing import Final, TypeAlias

Span: TypeAlias = tuple[int, int]
"""Where a value begins and ends in its text."""

_OPENING: Final = re.compile(r"\\{0,64}[\"'`]")
_QUOTE: Final = {sign: re.compile(re.escape(sign)) for sign in "\"'`"}
_BRACKET: Final = re.compile(r"[\[\]{}\"']")
_WORD: Final = re.compile(r"[^\s,;&\"'`]+")
# A comma ends a word only where another pair or the next text begins; else it belongs to it.
_NEXT: Final = re.compile(
    r"[,;&]?(?:[\s\]})]|\Z)"
    r"|[,;&](?:[\s\"'\\{\[]{0,8}[\w.-]{1,80}[\"'\\]{0,8}\s{0,2}[=:]|\\{0,16}[\"'{\[])"
    r"|[\"'`](?:[\s,;:\]})\\]|\Z)"
)
_CLOSERS: Final = re.compile(r"[\])}\\]{1,8}\Z")
_REST_OF_LINE: Final = re.compile(r"[^\n]*")
_REST_OF_QUOTED: Final = {sign: re.compile(rf"[^\n{sign}]*") for sign in "\"'`"}
_BLOCK_HEAD: Final = re.compile(
    r":[ \t]*+(?:[|>][-+0-9]{0,2}|[!&][\w!/:.-]{0,60})?[ \t]*+(?:\#[^\n]*+)?\r?\n"
)
_INDENT: Final = re.compile(r" *+")


def slashes_before(text: str, at: int) -> int:
    """Return how many backslashes stand directly before `at`."""
    first = at
    while first and text[first - 1] == "\\":
        first -= 1
    return at - first


def quoted(text: str, at: int) -> Span | None:
    """Return what lies between the quotes that open at `at`, None where none do.

    Inside JSON that lies in a JSON string both ends are written with one backslash and a quote of
    the value with three: the number before the opening tells how many belong to each level. A
    quote with fewer ends the text around. Without an end the value goes to the end of the text.
    """
    opening = _OPENING.match(text, at)
    if opening is None:
        return None
    start, level, sign = opening.end(), len(opening[0]) - 1, opening[0][-1]
    skipped = -1
    for found in _QUOTE[sign].finditer(text, start):
        end = found.start()
        slashes = slashes_before(text, end)
        if end == skipped or (slashes >= level and (slashes - level) // (level + 1) % 2):
            continue
        if level == 0 and end > start and text.startswith(sign, end + 1):
            skipped = end + 1  # A doubled quote stands for one, in YAML and SQL.
            continue
        return start, max(end - min(slashes, level), start)
    return start, len(text)


def end_of_group(text: str, at: int) -> int:
    """Return where the bracket that opens at `at` is closed; brackets in quotes do not count."""
    depth = 0
    inside: tuple[str, int] | None = None
    for found in _BRACKET.finditer(text, at):
        sign = found[0]
        if sign in "\"'":
            mark = (sign, slashes_before(text, found.start()))
            if inside is None:
                inside = mark
            elif inside[0] == sign and mark[1] <= inside[1]:
                inside = None
        elif inside is None:
            depth += 1 if sign in "[{" else -1
            if depth == 0:
                return found.end()
    return len(text)


def end_of_word(text: str, at: int) -> int:
    """Return where an unquoted value ends: at a blank, or where the next pair begins."""
    first = at
    while at < len(text):
        word = _WORD.match(text, at)
        at = word.end() if word else at
        if at >= len(text) or text[at].isspace() or _NEXT.match(text, at):
            break
        at += 1
    closers = _CLOSERS.search(text, max(first, at - 8), at)
    return closers.start() if closers and closers.start() > first else at


def end_of_line(text: str, begins_at: int, at: int) -> int:
    """Return the end of the line, or the quote that ends a text which begins with the name.

    `begins_at` is where the name begins, `at` where the value does.
    """
    before = text[begins_at - 1 : begins_at] if begins_at else ""
    if before not in _REST_OF_QUOTED:
        return _end(_REST_OF_LINE, text, at)
    end = _end(_REST_OF_QUOTED[before], text, at)
    return max(end - slashes_before(text, end), at)


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def below_at(text: str, separator_at: int) -> int:
    """Return where the next line begins when a colon ends its own, as in YAML, else 0."""
    found = _BLOCK_HEAD.match(text, separator_at)
    return found.end() if found else 0


def lines_below(text: str, begins_at: int, below: int) -> Span:
    """Return the lines from `below` on that belong to the name before, by their indentation."""
    floor = max(begins_at - 90, 0)
    line_at = text.rfind("\n", floor, begins_at) + 1
    width = _end(_INDENT, text, line_at) - line_at if line_at or not floor else 90
    at = below
    while at < len(text) and (end := _end_of_inner_line(text, at, width)):
        at = end
    start = min(_end(_INDENT, text, below), at)
    return start, max(at - text.endswith("\n", start, at), start)


def _end_of_inner_line(text: str, at: int, width: int) -> int:
    """Return where a line of a block ends, 0 when the line is not part of it."""
    end, deep = _end(_REST_OF_LINE, text, at), _end(_INDENT, text, at) - at
    is_item = deep == width and text.startswith("- ", at + deep)
    belongs = deep > width or is_item or deep == end - at
    return min(end + 1, len(text)) if belongs else 0
