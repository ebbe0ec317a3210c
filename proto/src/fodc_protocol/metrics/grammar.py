# SPDX-License-Identifier: Apache-2.0
"""The text format of `/metrics`: values, escapes, names and label sets.

Rules: upstream-proxy §7.4, without its faults (HELP unescaped).
"""

import re
from array import array
from operator import itemgetter
from typing import Final

from fodc_protocol.metrics.samples import Labels

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def format_value(value: float) -> str:
    """Return the shortest decimal that reads back as `value`, never with an exponent (H10).

    1e21 is written out in full, minus zero is `-0`; NaN, +Inf and -Inf as scrapers expect them.
    """
    text = repr(value)
    if text[-2:] == ".0":
        return text[:-2]
    if "e" in text:
        return _without_exponent(text)
    return _NOT_FINITE.get(text, text)


def format_values(values: "array[float]") -> list[bytes]:
    """Return what `format_value` makes of each value as bytes, in half the time."""
    # One call writes them all, a comma and a blank behind each.
    shown = (repr(values.tolist())[1:-1] + ", ").encode()
    texts = shown.replace(b".0, ", b", ").split(b", ")[: len(values)]
    if b"e" in shown or b"n" in shown:  # exponents, nan and inf
        return [_unusual(text) if b"e" in text or b"n" in text else text for text in texts]
    return texts


def _unusual(shown: bytes) -> bytes:
    text = shown.decode()
    return (_without_exponent(text) if "e" in text else _NOT_FINITE[text]).encode()


_NOT_FINITE: Final = {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}


def _without_exponent(text: str) -> str:
    mantissa, _, exponent = text.partition("e")
    sign = "-" if mantissa[0] == "-" else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = whole + fraction
    point = len(whole) + int(exponent)
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    return sign + digits.ljust(point, "0")


def escape_value(value: str) -> str:
    """Escape backslash, quote and newline of a label value in one pass (H15)."""
    return value.translate(_VALUE_ESCAPES)


def escape_help(text: str) -> str:
    """Escape backslash and newline of a HELP text, so that no description can break a page."""
    return text.translate(_HELP_ESCAPES)


_HELP_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})
_VALUE_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_NEEDS_ESCAPE: Final = re.compile(r'[\\\n"]').search
_IS_LABEL_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*").fullmatch
_IS_METRIC_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*").fullmatch


def render_labels(labels: Labels) -> str:
    """Return `{k="v",...}` sorted by the rendered pair, "" without labels (§7.4 rule 7)."""
    if not labels:
        return ""
    if not all(map(_IS_LABEL_NAME, map(itemgetter(0), labels))):
        labels = _with_legal_names(labels)
    pairs = [
        f'{name}="{escape_value(value) if _NEEDS_ESCAPE(value) else value}"'
        for name, value in labels
    ]
    pairs.sort()
    return "{" + ",".join(pairs) + "}"


def _with_legal_names(labels: Labels) -> Labels:
    """Make every name legal; a name that then collides keeps its first value."""
    legal: dict[str, str] = {}
    for name, value in labels:
        legal.setdefault(label_name(name), value)
    return tuple(legal.items())


def _legal(name: str, illegal: str) -> str:
    clean = re.sub(illegal, "_", name)
    return f"_{clean}" if not clean or clean[0].isdigit() else clean


def label_name(name: str) -> str:
    """Return the name with `_` for characters that a label's name may not have."""
    return name if _IS_LABEL_NAME(name) else _legal(name, r"[^a-zA-Z0-9_]")


def sample_prefix(name: str, labels: Labels) -> str:
    """Return what stands before the blank and the value of a sample line.

    Characters that a scraper would refuse become `_`: one odd name must not cost the page.
    """
    return metric_name(name) + render_labels(labels)


def is_metric_name(name: str) -> bool:
    """Say whether a scraper takes this name."""
    return _IS_METRIC_NAME(name) is not None


def metric_name(name: str) -> str:
    """Return the name with `_` for characters that a scraper would refuse."""
    return name if _IS_METRIC_NAME(name) else _legal(name, r"[^a-zA-Z0-9_:]")
