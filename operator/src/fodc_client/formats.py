# SPDX-License-Identifier: Apache-2.0
"""Numbers, spans and times as people read them; pure.

The one idea: whatever comes from elsewhere passes `printable`, so that no name or message can send
an escape sequence to the terminal.
"""

import math
from typing import Final

from fodc_protocol.times import parse_rfc3339_ms

NOTHING: Final = "-"
_BINARY: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_DECIMAL: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_SMALL: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


def printable(text: str) -> str:
    """Return `text` without control characters; each becomes `?`, tabs and newlines a blank."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else " " if each in "\t\n" else "?" for each in text)


def size(count: float | None) -> str:
    """Return bytes with a binary unit: 512 B, 1.5 KiB, 24 MiB."""
    if count is None:
        return NOTHING
    value, unit = float(count), _BINARY[0]
    for unit in _BINARY:
        if abs(value) < 1024 or unit == _BINARY[-1]:
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{_trim(value)} {unit}"


def _trim(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def span(seconds: float | None) -> str:
    """Return a span with at most two units: 0.4s, 12s, 3m20s, 2h5m, 4d1h."""
    if seconds is None:
        return NOTHING
    if seconds < 0:
        return "-" + span(-seconds)
    if seconds < 10:
        return f"{_trim(seconds)}s"
    whole = round(seconds)
    for unit, size_s, lower, lower_s in (("d", 86400, "h", 3600), ("h", 3600, "m", 60)):
        if whole >= size_s:
            rest = whole % size_s // lower_s
            return f"{whole // size_s}{unit}" + (f"{rest}{lower}" if rest else "")
    if whole >= 60:
        return f"{whole // 60}m" + (f"{whole % 60}s" if whole % 60 else "")
    return f"{whole}s"


def moment(time: str | None) -> str:
    """Return a time of the API, which is in UTC, to the second: 2026-11-21 07:06:39."""
    return NOTHING if time is None else time[:19].replace("T", " ")


def stamp(time: str) -> str:
    """Return a time of the API fit for a file name: 20261121T070639Z."""
    return f"{time[:19].replace('-', '').replace(':', '')}Z"


def passed_s(start: str, end: str) -> float:
    """Return the seconds between two times of the API."""
    return (parse_rfc3339_ms(end) - parse_rfc3339_ms(start)) / 1000


def short_seconds(value: float) -> str:
    """Return a small span with three digits: 1.23 s, 45.6 ms."""
    for scale, unit in _SMALL:
        if abs(value) >= scale:
            return f"{value / scale:.3g} {unit}" if abs(value) < 1000 else f"{value:.0f} s"
    return "0 s"


def quantity(value: float, unit: str = "") -> str:
    """Return a value of a profile or metric; `unit` is bytes, nanoseconds, seconds or a count."""
    if not math.isfinite(value):
        return str(value)
    match unit:
        case "bytes":
            return size(value)
        case "nanoseconds":
            return short_seconds(value / 1e9)
        case "seconds":
            return short_seconds(value)
        case _:
            return _count(value)


def _count(value: float) -> str:
    for scale, letter in _DECIMAL:
        if abs(value) >= scale:
            return f"{value / scale:.4g}{letter}"
    return f"{value:.3g}"


def counted(count: int, thing: str) -> str:
    """Return a count with its noun: 1 node, 2 nodes."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def percent(share: float) -> str:
    """Return a share of 100 with one digit."""
    return f"{share:.1f}%"


def or_nothing(text: str | None) -> str:
    """Return `text`, or a dash where there is none."""
    return text or NOTHING
