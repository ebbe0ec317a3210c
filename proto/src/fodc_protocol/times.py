# SPDX-License-Identifier: Apache-2.0
"""Points in time as RFC 3339 texts and spans as Go texts ("1m30s"), on integers.

The one idea: read and write what the existing Go programs read and write, to the letter of their
error messages, without a date library and without a clock.
"""

import re
from typing import Final

from fodc_protocol.errors import BadRequestError

NANOS_PER_SECOND: Final = 1_000_000_000
_LAYOUT: Final = "2006-01-02T15:04:05Z07:00"
_DAYS_IN_MONTH: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class TimeError(BadRequestError):
    """A text is no point in time or no duration; the message has Go's wording for times."""


# ---- points in time -------------------------------------------------------------------------

# Each step: what the text must hold, and the piece of layout that Go names when it does not.
_STEPS: Final = (
    (re.compile(r"\d{4}"), "2006"),
    (re.compile(r"-"), "-"),
    (re.compile(r"\d{2}"), "01"),
    (re.compile(r"-"), "-"),
    (re.compile(r"\d{2}"), "02"),
    (re.compile(r"T"), "T"),
    (re.compile(r"\d{1,2}"), "15"),
    (re.compile(r":"), ":"),
    (re.compile(r"\d{2}"), "04"),
    (re.compile(r":"), ":"),
    (re.compile(r"\d{2}"), "05"),
    (re.compile(r"(?:[.,]\d+)?"), ""),
    (re.compile(r"Z|[+-]\d{2}:\d{2}"), "Z07:00"),
)


def parse_rfc3339(text: str) -> int:
    """Return nanoseconds since 1970 of an RFC 3339 text; fractions and offsets are accepted.

    Raises TimeError with the wording of Go's parser. An offset whose "+" became a blank on its
    way through a URL is an error too.
    """
    pieces = _pieces(text)
    year, month, day, hour, minute, second = (int(pieces[place]) for place in (0, 2, 4, 6, 8, 10))
    _check_ranges(text, (year, month, day, hour, minute, second))
    seconds = (_days_from_civil(year, month, day) * 24 + hour) * 3600 + minute * 60 + second
    nanos = int(pieces[11][1:10].ljust(9, "0")) if pieces[11] else 0
    return (seconds - _offset_s(text, pieces[12])) * NANOS_PER_SECOND + nanos


def parse_rfc3339_ms(text: str) -> int:
    """Return milliseconds since 1970 of an RFC 3339 text, cut towards the past."""
    return parse_rfc3339(text) // 1_000_000


def _pieces(text: str) -> list[str]:
    pieces: list[str] = []
    at = 0
    for pattern, layout in _STEPS:
        found = pattern.match(text, at)
        if found is None or (not found[0].isascii()):
            raise _cannot_parse(text, text[at:], layout)
        pieces.append(found[0])
        at = found.end()
    if at < len(text):
        raise TimeError(f'parsing time "{_quoted(text)}": extra text: "{_quoted(text[at:])}"')
    return pieces


def _cannot_parse(text: str, rest: str, layout: str) -> TimeError:
    return TimeError(
        f'parsing time "{_quoted(text)}" as "{_LAYOUT}": '
        f'cannot parse "{_quoted(rest)}" as "{layout}"'
    )


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _check_ranges(text: str, parts: tuple[int, int, int, int, int, int]) -> None:
    year, month, day, hour, minute, second = parts
    month_fits = 1 <= month <= 12
    last_day = _days_in_month(year, month) if month_fits else 31
    for name, fits in (
        ("month", month_fits),
        ("hour", hour < 24),
        ("minute", minute < 60),
        ("second", second < 60),
        ("day", 1 <= day <= last_day),
    ):
        if not fits:
            raise TimeError(f'parsing time "{_quoted(text)}": {name} out of range')


def _days_in_month(year: int, month: int) -> int:
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 29 if month == 2 and is_leap else _DAYS_IN_MONTH[month - 1]


def _offset_s(text: str, zone: str) -> int:
    if zone == "Z":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if hours > 24 or minutes > 60:
        raise TimeError(f'parsing time "{_quoted(text)}": time zone offset out of range')
    return (hours * 3600 + minutes * 60) * (-1 if zone[0] == "-" else 1)


def _days_from_civil(year: int, month: int, day: int) -> int:
    """Return days since 1970-01-01 in the proleptic Gregorian calendar; years start in March."""
    year -= month <= 2
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return year * 365 + year // 4 - year // 100 + year // 400 + of_year - 719_468


def _civil_from_days(days: int) -> tuple[int, int, int]:
    days += 719_468
    era, of_era = divmod(days, 146_097)
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    return year + era * 400 + (month <= 2), month, day


def format_rfc3339(seconds: int, nanos: int = 0) -> str:
    """Return UTC as Go prints it: fraction without trailing zeros, "Z" at the end."""
    days, of_day = divmod(seconds, 86_400)
    year, month, day = _civil_from_days(days)
    hour, rest = divmod(of_day, 3600)
    fraction = f".{nanos:09d}".rstrip("0") if nanos else ""
    return (
        f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{rest // 60:02d}:{rest % 60:02d}{fraction}Z"
    )


def format_rfc3339_ns(time_ns: int) -> str:
    """Return nanoseconds since 1970 as RFC 3339 in UTC."""
    return format_rfc3339(*divmod(time_ns, NANOS_PER_SECOND))


def format_rfc3339_ms(time_ms: int) -> str:
    """Return milliseconds since 1970 as RFC 3339 in UTC."""
    return format_rfc3339_ns(time_ms * 1_000_000)


def pressure_profile_id(at_ms: int) -> str:
    """Return how the existing contract calls what was captured at this time (11.3)."""
    whole, _, fraction = format_rfc3339_ms(at_ms).rstrip("Z").partition(".")
    return f"{whole.replace('-', '').replace(':', '')}.{fraction:0<9}Z"


# ---- durations ------------------------------------------------------------------------------

_UNIT_NS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": NANOS_PER_SECOND,
    "m": 60 * NANOS_PER_SECOND,
    "h": 3600 * NANOS_PER_SECOND,
}
_PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_MAX_NS: Final = 2**63 - 1
_MAX_DURATION_LENGTH: Final = 200


def parse_duration_ns(text: str) -> int:
    """Return nanoseconds of a Go duration: "10s", "1m30s", "500ms", "-1.5h", "0".

    Raises TimeError for everything else, a bare number other than 0 included.
    """
    sign = -1 if text[:1] == "-" else 1
    body = text[1:] if text[:1] in {"-", "+"} else text
    if body == "0":
        return 0
    total = at = 0
    if len(body) > _MAX_DURATION_LENGTH:
        raise TimeError(f"duration {text[:40]!r}… is too long a text")
    while found := _PART.match(body, at):
        total += _scaled(found[1], _UNIT_NS[found[2]])
        at = found.end()
    if not body or at < len(body):
        raise TimeError(f"{text!r} is no duration; expected something like 10s, 1m30s or 500ms")
    if total > _MAX_NS:
        raise TimeError(f"duration {text!r} is too long; at most 292 years")
    return sign * total


def _scaled(number: str, unit_ns: int) -> int:
    whole, _, fraction = number.partition(".")
    scale: int = 10 ** len(fraction)
    return int(whole or "0") * unit_ns + int(fraction or "0") * unit_ns // scale


def parse_duration_s(text: str) -> float:
    """Return seconds of a Go duration; raises TimeError."""
    return parse_duration_ns(text) / NANOS_PER_SECOND
