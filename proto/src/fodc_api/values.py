# SPDX-License-Identifier: Apache-2.0
"""Single values of the API: times, counts, names, with the bounds that hold everywhere.

The one idea: there is one way to write a time: RFC 3339 in UTC with milliseconds, so that texts of
one length sort as times do.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Struct

from fodc_protocol import times
from fodc_protocol.errors import BadRequestError

DNS_LABEL: Final = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_DNS_LABEL: Final = re.compile(DNS_LABEL.strip("^$"))
_LAST_MS: Final = 253_402_300_799_999
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Time: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$",
        description="RFC 3339 in UTC, always with milliseconds.",
        examples=["2026-11-21T09:08:23.000Z"],
        extra_json_schema={"format": "date-time"},
    ),
]
Count: TypeAlias = Annotated[int, Meta(ge=0)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0, description="Seconds.")]
Sha256: TypeAlias = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="SHA-256 in hex.")]
RequestId: TypeAlias = Annotated[
    str,
    Meta(pattern=DNS_LABEL, max_length=63, description="Id of a request, a DNS label."),
]


class Answer(Struct, frozen=True):
    """What the proxy tells; a reader passes over fields of a newer proxy."""


class Asked(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a caller says: a field that is not known is a mistake."""


class Query(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Parameters of a query; an empty text chooses everything."""


class RuleError(ValueError):
    """Fields that do not fit each other; raised while a Struct is made.

    `field` is the path below that Struct, empty for the whole; the sentence goes on after its name.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}".strip())
        self.field = field
        self.problem = problem


def time_of(time_ms: int) -> Time:
    """Return a Unix time in milliseconds as a Time; before 1970 and after 9999 are cut to these."""
    seconds, millis = divmod(min(max(time_ms, 0), _LAST_MS), 1000)
    return f"{times.format_rfc3339(seconds)[:-1]}.{millis:03d}Z"


def time_or_none(time_ms: int | None) -> Time | None:
    """Return the Time, or None for what has not happened."""
    return None if time_ms is None else time_of(time_ms)


def moment(time: Time) -> datetime:
    """Return the point in time; raises BadRequestError for a text that is none."""
    try:
        return _EPOCH + timedelta(milliseconds=times.parse_rfc3339_ms(time))
    except OverflowError as error:
        raise BadRequestError(f"time {time[:40]!r} is out of range") from error


def is_request_id(text: str) -> bool:
    """Say whether `text` may be the id of a request: a DNS label (RFC 1123)."""
    return _DNS_LABEL.fullmatch(text) is not None
