# SPDX-License-Identifier: Apache-2.0
"""What can go wrong between the agent and an HTTP port of its node, and what to try again.

The one idea: a failure is a value with a name (`Fault`), so that a source, a capture and a person
read the same word, and the retry rule of upstream-agent §6.2 is a pure function of it.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, assert_never

from fodc_protocol.errors import FodcError, Reason


class Fault(StrEnum):
    """How one HTTP exchange failed."""

    REFUSED = "Refused"
    """Nobody listens, or the connection was reset before an answer."""
    HUNG = "Hung"
    """The deadline passed; a part of the answer may have come."""
    STATUS = "Status"
    """The node answered, but not with 200."""
    TOO_LARGE = "TooLarge"
    """The body is above the caller's limit; the rest was not read."""
    TRUNCATED = "Truncated"
    """The connection ended inside the body."""
    PROTOCOL = "Protocol"
    """What came is not HTTP/1.1."""
    CONTENT = "Content"
    """The answer is whole, but it is not what was asked for, or nobody here can decode it."""


class FetchError(FodcError):
    """One failed exchange; `reason` is the word for it that conditions and results carry.

    `status`, `headers` (names in lower case) and `excerpt` (first bytes of the body, as text) are
    those of the node's answer where there was one, else 0 and empty.
    """

    def __init__(
        self,
        fault: Fault,
        message: str,
        *,
        status: int = 0,
        headers: Mapping[str, str] | None = None,
        excerpt: str = "",
    ) -> None:
        super().__init__(message, reason=_reason_of(fault))
        self.fault: Final = fault
        self.status: Final = status
        self.headers: Final[Mapping[str, str]] = headers or {}
        self.excerpt: Final = excerpt


def _reason_of(fault: Fault) -> Reason:
    match fault:
        case Fault.REFUSED:
            return Reason.NODE_UNREACHABLE
        case Fault.HUNG:
            return Reason.NODE_HUNG
        case Fault.TOO_LARGE:
            return Reason.TOO_LARGE
        case Fault.TRUNCATED:
            return Reason.TRUNCATED
        case Fault.STATUS | Fault.PROTOCOL | Fault.CONTENT:
            return Reason.NODE_ERROR
        case _ as never:
            assert_never(never)


ATTEMPTS: Final = 3
FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 5.0


def is_final(failure: FetchError) -> bool:
    """Say whether another attempt would give the same: a 404, a body too large, another content."""
    return failure.status == 404 or failure.fault in {Fault.TOO_LARGE, Fault.CONTENT}


def pause_before_retry_s(attempt: int, failure: FetchError) -> float | None:
    """Return how long to wait after failed `attempt` (from 1), None to give up (§6.2).

    Three attempts with 0.2 s and 0.4 s between them, never above 5 s. What will be the same again
    is not asked for twice.
    """
    if attempt >= ATTEMPTS or is_final(failure):
        return None
    return min(FIRST_PAUSE_S * 2.0 ** (attempt - 1), LONGEST_PAUSE_S)
