# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with stored bytes, in words that say what to do."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from fodc_protocol.errors import FodcError, Reason

_FULL_NUMBERS = frozenset({errno.ENOSPC, errno.EDQUOT})
_DENIED_NUMBERS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class Trouble(StrEnum):
    """What kind of trouble a store has, as `/readyz` and the metrics name it."""

    NONE = "Ready"
    FULL = "Full"
    DENIED = "ReadOnly"
    AWAY = "Away"
    FENCED = "Fenced"
    """Another proxy writes there now."""
    FAILED = "Failed"


_ADVICE = {
    Trouble.FULL: "the artifact store is full; remove artifacts or give it more space",
    Trouble.DENIED: "the artifact store may not be written or read; "
    "check permissions and credentials",
    Trouble.AWAY: "the store did not answer in time; check it",
}


class StorageError(FodcError):
    """The artifact store did not do what was asked; `trouble` says of what kind that is."""

    default_reason = Reason.STORAGE_FAILED

    def __init__(
        self, message: str, *, reason: Reason | None = None, trouble: Trouble = Trouble.FAILED
    ) -> None:
        """Keep all three."""
        super().__init__(message, reason=reason)
        self.trouble = trouble


class MissingError(FodcError):
    """There is no such object."""

    default_reason = Reason.NOT_FOUND


class HeldError(StorageError):
    """Another proxy writes to this store; the message says who."""


class FencedError(HeldError):
    """Another proxy has taken this store over; nothing is written any more."""

    def __init__(self, message: str) -> None:
        """Keep the message."""
        super().__init__(message, trouble=Trouble.FENCED)


def storage_error(what: str, trouble: Trouble, detail: str = "") -> StorageError:
    """Return an error that says what failed and what to do about it."""
    advice = _ADVICE.get(trouble, f"the artifact store failed: {detail[:160]}")
    return StorageError(f"{what}: {advice}", trouble=trouble)


@contextmanager
def told_as_storage_error(what: str) -> Iterator[None]:
    """Turn errors of files and their deadlines into StorageError or MissingError."""
    try:
        yield
    except FileNotFoundError as error:
        raise MissingError(f"{what}: not found") from error
    except TimeoutError as error:
        raise storage_error(what, Trouble.AWAY) from error
    except (OSError, ValueError) as error:
        raise storage_error(what, trouble_of(error), _first_line(error)) from error


def trouble_of(error: Exception) -> Trouble:
    """Return what an error of the system means for a store."""
    number = error.errno if isinstance(error, OSError) else None
    if number in _FULL_NUMBERS:
        return Trouble.FULL
    return Trouble.DENIED if number in _DENIED_NUMBERS else Trouble.FAILED


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
