# SPDX-License-Identifier: Apache-2.0
"""Why a request is not taken in."""

from fodc_protocol.errors import FodcError, Reason


class SubmitError(FodcError):
    """A request is not taken in; the reason is BadRequest, Busy or a conflict of ids."""


class ConflictError(SubmitError):
    """The id is taken by a request that asks for something else."""

    default_reason = Reason.BAD_REQUEST


class TooManyError(SubmitError):
    """A limit is reached; the message names it, and after `retry_after_s` there may be room."""

    default_reason = Reason.BUSY

    def __init__(
        self, message: str, *, reason: Reason = Reason.BUSY, retry_after_s: int = 5
    ) -> None:
        super().__init__(message, reason=reason)
        self.retry_after_s = retry_after_s
