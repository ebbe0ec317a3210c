# SPDX-License-Identifier: Apache-2.0
"""What a call of the API server can end in, by what the caller can do about it."""

from fodc_protocol.errors import FodcError, Reason


class ClusterError(FodcError):
    """The API server refused or could not be reached; `status` is 0 without an answer."""

    def __init__(self, message: str, *, status: int = 0, word: str = "") -> None:
        """Keep the HTTP status and the server's own word, such as AlreadyExists."""
        super().__init__(message)
        self.status = status
        self.word = word


class NotFoundError(ClusterError):
    """404: the object, or the namespace that it would be in, does not exist."""

    default_reason = Reason.NOT_FOUND


class ConflictError(ClusterError):
    """409: somebody else was faster; read again, then decide again."""

    @property
    def already_exists(self) -> bool:
        """Whether an object of that name exists, rather than in another version."""
        return self.word == "AlreadyExists"


class ExpiredError(ClusterError):
    """410: what happened since the given version is forgotten; list again."""


class InvalidError(ClusterError):
    """400 or 422: the object breaks its schema or a rule; the same again fails again."""

    default_reason = Reason.BAD_REQUEST


class ForbiddenError(ClusterError):
    """401 or 403: the operator's account lacks a right; the message names it."""

    default_reason = Reason.FORBIDDEN


class UnavailableError(ClusterError):
    """No useful answer within the deadline, after repeated attempts."""

    default_reason = Reason.DEADLINE_EXCEEDED
