# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with stored bytes, in words that say what to do."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from obstore import exceptions as obstore_errors

from fodc_protocol.errors import FodcError, Reason

_NO_SPACE = ("no space left", "storagefull", "quota exceeded", "disk quota")
_DENIED = ("permission denied", "accessdenied", "forbidden", "read-only file system")


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
    text = str(error).lower()
    number = error.errno if isinstance(error, OSError) else None
    if number in {errno.ENOSPC, errno.EDQUOT} or any(word in text for word in _NO_SPACE):
        return "the artifact store is full; remove artifacts or give it more space"
    if number in {errno.EACCES, errno.EPERM, errno.EROFS} or any(word in text for word in _DENIED):
        return "the artifact store may not be written or read; check permissions and credentials"
    return f"the artifact store failed: {first_line[:160]}"
