# SPDX-License-Identifier: Apache-2.0
"""Everything that can go wrong for a person at the prompt, each with the exit code it means.

ClientError
 ├─ BadUsageError        an argument or a field that the proxy refused            2
 ├─ UnreachableError     nobody answers                                           3
 │   └─ LostError        somebody did, and went away or did not answer in time    3
 ├─ NotFoundError        the proxy knows no such node, request or artifact        4
 │   └─ UnknownNodeError it knows no node of this name                           4
 ├─ RefusedError         the proxy understood and said no (busy, conflict, …)     1
 ├─ BadAnswerError       the answer is not what this program can read             1
 └─ DownloadError        an artifact is damaged, or did not arrive as announced   1
"""

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the shell is told; documented in `fodc --help`."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_FOUND = 4
    PARTIAL = 5
    INTERRUPTED = 130


class ClientError(Exception):
    """A failure with a sentence for people: what, where, what to do."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED


class BadUsageError(ClientError):
    """An argument is wrong, here or in the eyes of the proxy."""

    exit_code = ExitCode.USAGE


class UnreachableError(ClientError):
    """The proxy cannot be reached: nothing was sent."""

    exit_code = ExitCode.UNREACHABLE


class LostError(UnreachableError):
    """The connection stood and then broke, or the answer took too long: it may have arrived."""


class NotFoundError(ClientError):
    """The proxy does not know what was asked for."""

    exit_code = ExitCode.NOT_FOUND


class UnknownNodeError(NotFoundError):
    """No node of the proxy has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no such node: {name}. `fodc nodes` lists what there is.")
        self.name = name


class RefusedError(ClientError):
    """The proxy understood the question and answered with an error."""


class BadAnswerError(ClientError):
    """The answer cannot be read: another program, or another version."""


class DownloadError(ClientError):
    """An artifact did not arrive whole."""
