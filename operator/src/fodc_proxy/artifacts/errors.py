# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with stored bytes, in words that say what to do."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore import exceptions as obstore_errors

from fodc_protocol.errors import FodcError, Reason

# A store tells the number of the system's error, or the word of its service, in its text.
_NO_SPACE = re.compile(r"\(os error (28|122)\)|StorageFull|QuotaExceeded")
_DENIED = re.compile(r"\(os error (1|13|30)\)|AccessDenied")
_FULL_NUMBERS = frozenset({errno.ENOSPC, errno.EDQUOT})
_DENIED_NUMBERS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_DENIED_ERRORS = (obstore_errors.PermissionDeniedError, obstore_errors.UnauthenticatedError)


class StorageError(FodcError):
    """The artifact store did not do what was asked."""

    default_reason = Reason.STORAGE_FAILED


class MissingError(FodcError):
    """There is no such object."""

    default_reason = Reason.NOT_FOUND


@contextmanager
def told_as_storage_error(what: str) -> Iterator[None]:
    """Turn errors of files, stores and their deadlines into StorageError or MissingError."""
    try:
        yield
    except FileNotFoundError as error:
        raise MissingError(f"{what}: not found") from error
    except TimeoutError as error:
        raise StorageError(f"{what}: the store did not answer in time; check it") from error
    except (OSError, ValueError, obstore_errors.BaseError) as error:
        raise StorageError(f"{what}: {_advice(error)}") from error


def _advice(error: Exception) -> str:
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    number = error.errno if isinstance(error, OSError) else None
    text = "" if number is not None else str(error)
    if number in _FULL_NUMBERS or _NO_SPACE.search(text):
        return "the artifact store is full; remove artifacts or give it more space"
    denied = isinstance(error, _DENIED_ERRORS) or _DENIED.search(text)
    if number in _DENIED_NUMBERS or denied:
        return "the artifact store may not be written or read; check permissions and credentials"
    return f"the artifact store failed: {first_line[:160]}"
