# SPDX-License-Identifier: Apache-2.0
"""What calls of a bucket have in common: versions of objects, and failures in words."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TypedDict

import obstore
from obstore import exceptions as obstore_errors

from fodc_proxy.storage.errors import (
    StorageError,
    Trouble,
    storage_error,
    told_as_storage_error,
)

# A store tells the number of the system's error, or the word of its service, in its text.
_FULL: Final = re.compile(r"\(os error (28|122)\)|StorageFull|QuotaExceeded|507 Insufficient")
_DENIED: Final = re.compile(r"\(os error (1|13|30)\)|AccessDenied|403 Forbidden|NoSuchBucket")
_AWAY: Final = re.compile(r"error sending request|timed out|50[0234] |connect")
_DENIED_ERRORS: Final = (
    obstore_errors.PermissionDeniedError,
    obstore_errors.UnauthenticatedError,
)
CONFLICTS: Final = (obstore_errors.AlreadyExistsError, obstore_errors.PreconditionError)
"""Answers of a conditional put, not failures: the object is there in another version."""


class Version(TypedDict, total=False):
    """One version of an object, as the store tells it."""

    e_tag: str | None
    version: str | None


def version_of(told: "obstore.ObjectMeta | obstore.PutResult") -> Version:
    """Return the version that an answer of the store tells."""
    # A store tells one of the two or both; what it does not tell it does not want to hear.
    version = Version()
    if told["e_tag"] is not None:
        version["e_tag"] = told["e_tag"]
    if told["version"] is not None:
        version["version"] = told["version"]
    return version


@contextmanager
def told(what: str) -> Iterator[None]:
    """Turn failures of a store and deadlines into StorageError or MissingError."""
    with told_as_storage_error(what):
        try:
            yield
        except obstore_errors.BaseError as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise storage_error(what, _trouble(error), first_line(error)) from error


@contextmanager
def told_of_write(key: str, place: str) -> Iterator[None]:
    """The same for a write; conflicts pass, and what is not found is the bucket."""
    conflict: Exception | None = None
    with told(f"writing {key}"):
        try:
            yield
        except CONFLICTS as error:
            conflict = error
        except FileNotFoundError as error:
            message = f"writing {key}: there is no such bucket: {place}"
            raise StorageError(message, trouble=Trouble.DENIED) from error
    if conflict is not None:
        raise conflict


def _trouble(error: Exception) -> Trouble:
    text = str(error)
    if _FULL.search(text):
        return Trouble.FULL
    if isinstance(error, _DENIED_ERRORS) or _DENIED.search(text):
        return Trouble.DENIED
    return Trouble.AWAY if _AWAY.search(text) else Trouble.FAILED


def first_line(error: Exception) -> str:
    """Return what an error says first."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
