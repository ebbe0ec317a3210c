# SPDX-License-Identifier: Apache-2.0
r"""The strict grammar of one line of the text format (exposition format 0.0.4).

    sample  = name [ "{" [ label *( "," label ) [ "," ] ] "}" ] value [ timestamp ] [ exemplar ]
    label   = label-name "=" DQUOTE *( char / "\\" / "\"" / "\n" ) DQUOTE
    comment = "#" ( "HELP" name text / "TYPE" name word )

Blanks (space, tab) may stand between all parts. Timestamps and exemplars are tolerated and
dropped. Other backslash pairs in a value stay as they are, as prometheus_client reads them.
"""

import re
from enum import StrEnum
from typing import Final, TypeAlias

from fodc_protocol.lean import dataclass
from fodc_protocol.metrics.samples import Labels, MetricType

Strings: TypeAlias = dict[tuple[str, str], tuple[str, str]]
"""Label pairs met so far on a page, so that equal pairs share one object."""

_MAX_LINE_BYTES: Final = 1 << 16
_BLANKS: Final = " \t\r"
_BLANK_BYTES: Final = b" \t\r"

_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_OPEN: Final = re.compile(r"[ \t]*\{[ \t]*")
_LABEL: Final = re.compile(
    r'([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"([^"\\]*(?:\\.[^"\\]*)*)"[ \t]*(,?)[ \t]*'
)
_ESCAPE: Final = re.compile(r'\\([\\n"])')
_HELP_ESCAPE: Final = re.compile(r"\\([\\n])")
_UNESCAPED: Final = {"\\": "\\", "n": "\n", '"': '"'}
_WORD: Final = re.compile(r"[^ \t\r]+")
_TIMESTAMP: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?")
_COMMENT: Final = re.compile(r"#[ \t]*(HELP|TYPE)[ \t]+([^ \t]+)(?:[ \t]+(.*))?", re.DOTALL)
_TYPES: Final = {
    "gauge": MetricType.GAUGE,
    "counter": MetricType.COUNTER,
    "histogram": MetricType.HISTOGRAM,
    "summary": MetricType.SUMMARY,
}


class SkipReason(StrEnum):
    """Why a line was left out. BLANK is not counted: an empty line is no fault."""

    BLANK = "blank"
    TOO_LONG = "too_long"
    NOT_UTF8 = "not_utf8"
    BAD_NAME = "bad_name"
    BAD_LABELS = "bad_labels"
    DUPLICATE_LABEL = "duplicate_label"
    MISSING_VALUE = "missing_value"
    BAD_VALUE = "bad_value"
    BAD_TIMESTAMP = "bad_timestamp"
    TRAILING_TEXT = "trailing_text"


@dataclass(frozen=True, slots=True)
class SampleLine:
    """One sample line. Labels are sorted and none is empty; `stamp` is None without a timestamp.

    `prefix` is what may be cached, empty if nothing may.
    """

    name: str
    labels: Labels
    value: float
    prefix: bytes
    stamp: float | None = None


@dataclass(frozen=True, slots=True)
class Comment:
    """One HELP line (`type` is None) or TYPE line."""

    name: str
    type: MetricType | None
    help: str


def read_sample(line: bytes, strings: Strings) -> SampleLine | SkipReason:
    """Parse one line that is no comment; never raises."""
    if len(line) > _MAX_LINE_BYTES:
        return SkipReason.TOO_LONG
    try:
        text = line.decode("utf-8").strip(_BLANKS)
    except UnicodeDecodeError:
        return SkipReason.NOT_UTF8
    if not text:
        return SkipReason.BLANK
    name = _NAME.match(text)
    if name is None:
        return SkipReason.BAD_NAME
    return _after_name(line, text, name, strings)


def _after_name(
    line: bytes, text: str, name: re.Match[str], strings: Strings
) -> SampleLine | SkipReason:
    opening = _OPEN.match(text, name.end())
    if opening is None:
        labels: Labels = ()
        end = name.end()
        if text[end : end + 1] not in ("", " ", "\t"):
            return SkipReason.BAD_NAME
    else:
        found = _read_labels(text, opening.end(), strings)
        if isinstance(found, SkipReason):
            return found
        labels, end = found
    read = _read_value(text[end:])
    if isinstance(read, SkipReason):
        return read
    value, stamp = read
    return SampleLine(name.group(), labels, value, _cacheable(line, text[:end]), stamp)


def _read_labels(text: str, start: int, strings: Strings) -> tuple[Labels, int] | SkipReason:
    """Return the labels sorted by name, and where the closing brace has been passed."""
    pairs: dict[str, str] = {}
    comma = True
    while not text.startswith("}", start):
        label = _LABEL.match(text, start) if comma else None
        if label is None:
            return SkipReason.BAD_LABELS
        name, value = label.group(1), label.group(2)
        if name in pairs:
            return SkipReason.DUPLICATE_LABEL
        pairs[name] = _unescape(value) if "\\" in value else value
        comma, start = bool(label.group(3)), label.end()
    # An empty value is no label for any scraper; existing agents drop it as well.
    shared = [strings.setdefault(pair, pair) for pair in sorted(pairs.items()) if pair[1]]
    return tuple(shared), start + 1


def _unescape(value: str) -> str:
    return _ESCAPE.sub(lambda pair: _UNESCAPED[pair.group(1)], value)


def _read_value(rest: str) -> tuple[float, float | None] | SkipReason:
    """Read what follows name and labels: a value, perhaps a timestamp, perhaps an exemplar."""
    words = _WORD.findall(rest.partition(" # {")[0])
    match words:
        case []:
            return SkipReason.MISSING_VALUE
        case [text] | [text, _]:
            value = _number(text)
        case _:
            return SkipReason.TRAILING_TEXT
    if isinstance(value, SkipReason):
        return value
    if len(words) == 1:
        return value, None
    return (value, float(words[1])) if _TIMESTAMP.fullmatch(words[1]) else SkipReason.BAD_TIMESTAMP


def _number(text: str) -> float | SkipReason:
    if not text.isascii():
        return SkipReason.BAD_VALUE
    try:
        return float(text)
    except ValueError:
        return _hexadecimal(text)


def _hexadecimal(text: str) -> float | SkipReason:
    """Read 0x1p4 as Go does; there the binary exponent is mandatory."""
    lower = text.lower()
    if not lower.lstrip("+-").startswith("0x") or "p" not in lower:
        return SkipReason.BAD_VALUE
    try:
        return float.fromhex(lower)
    except (ValueError, OverflowError):
        return SkipReason.BAD_VALUE


def _cacheable(line: bytes, prefix: str) -> bytes:
    """Return the line up to its last blank when that is exactly name and labels.

    Else name and labels as they begin the line, for values with a timestamp or an exemplar; or
    nothing.
    """
    before = line.rpartition(b" ")[0]
    bare = prefix.strip(_BLANKS).encode()
    if before.strip(_BLANK_BYTES) == bare:
        return before
    return bare if line.startswith(bare + b" ") else b""


def read_comment(line: bytes) -> Comment | None:
    """Parse a line that begins with "#"; None for any other remark or a broken one."""
    if len(line) > _MAX_LINE_BYTES:
        return None
    comment = _COMMENT.fullmatch(line.decode("utf-8", "replace").strip(_BLANKS))
    if comment is None or _NAME.fullmatch(comment.group(2)) is None:
        return None
    word, name, rest = comment.group(1), comment.group(2), comment.group(3) or ""
    if word == "HELP":
        return Comment(name, None, _HELP_ESCAPE.sub(lambda pair: _UNESCAPED[pair.group(1)], rest))
    return Comment(name, _TYPES.get(rest.strip(_BLANKS), MetricType.UNTYPED), "") if rest else None
