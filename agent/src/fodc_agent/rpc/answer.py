# SPDX-License-Identifier: Apache-2.0
"""The peer's half of a call, pure: bytes as they come, messages and the end as they are asked for.

The one idea: how long a message may be is known before it is read. A peer that announces more
loses the call, not the agent its memory; what is not asked for stays within a window.
"""

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import unquote

from fodc_agent.rpc.faults import RpcError, RpcFault
from fodc_protocol.grpc_status import Status
from fodc_protocol.redaction import redact_foreign

_TOLD_CHARS: Final = 500
"""How much of a peer's error text is kept."""
MESSAGE_BYTES: Final = 64 * 1024
"""How long a message may be where the caller says nothing else."""
PREFIX_BYTES: Final = 5
_HEAD_BYTES: Final = 16
_OF_HTTP: Final[Mapping[int, Status]] = {
    400: Status.INTERNAL,
    401: Status.UNAUTHENTICATED,
    403: Status.PERMISSION_DENIED,
    404: Status.UNIMPLEMENTED,
    429: Status.UNAVAILABLE,
    502: Status.UNAVAILABLE,
    503: Status.UNAVAILABLE,
    504: Status.UNAVAILABLE,
}
"""What HTTP's own refusals mean to gRPC; others are UNKNOWN."""
_FAULTS: Final[Mapping[Status, RpcFault]] = {
    Status.UNIMPLEMENTED: RpcFault.UNIMPLEMENTED,
    Status.DEADLINE_EXCEEDED: RpcFault.LATE,
}

Limit = Callable[[bytes], int]
"""Takes the first bytes of a message and returns how many it may have in all."""


def usual(head: bytes) -> int:  # noqa: ARG001 - the same for every kind
    """Allow each kind of message the same."""
    return MESSAGE_BYTES


class Answer:
    """What came of one call and was not taken yet."""

    __slots__ = (
        "_buffer",
        "_is_headed",
        "_limit",
        "_problem",
        "_what",
        "is_ended",
        "missing_bytes",
    )

    def __init__(self, what: str, limit: Limit = usual) -> None:
        """Begin; errors start with `what`."""
        self.is_ended = False
        self.missing_bytes = PREFIX_BYTES  # of the next message, as far as is known
        self._buffer = bytearray()
        self._is_headed = False
        self._problem: RpcError | None = None  # how it ended, None for well or not yet
        self._limit = limit
        self._what = what

    # ---- what comes -----------------------------------------------------------------------------

    def told(self, status: int, headers: Mapping[str, str], *, ended: bool) -> None:
        """Take headers, or what stands behind the messages, with a `status` of 0."""
        if self.is_ended:
            return
        if self._is_headed is bool(status):
            self.fail("headers at a wrong place")
            return
        self._is_headed = True
        if "grpc-status" in headers and ended:
            self._finish(self._ending(headers))
        elif status and (status != 200 or not _is_grpc(headers)):
            self._finish(self._refused_by_http(status, headers))
        elif ended:
            self._finish(self._rejected(Status.UNKNOWN, "no grpc-status"))

    def received(self, data: bytes, *, ended: bool) -> None:
        """Take bytes of messages."""
        if self.is_ended:
            return
        if not self._is_headed:
            self.fail("a message before headers")
            return
        self._buffer += data
        if ended:
            self._finish(self._rejected(Status.UNKNOWN, "no grpc-status"))

    def fail(self, told: str, fault: RpcFault = RpcFault.CUT) -> None:
        """End it for a reason of ours or of the line."""
        self._finish(RpcError(fault, f"{self._what}: {told}"))

    def check(self) -> None:
        """Raise RpcError when the call has failed."""
        if self._problem is not None:
            raise self._problem.again()

    # ---- what is asked for ----------------------------------------------------------------------

    def message(self) -> bytes | None:
        """Return the next message, None while it is not whole.

        Raises RpcError for one that is compressed or longer than its kind may be, as soon as that
        is known, and behind the last one when the call has not ended well.
        """
        end = self._end()
        missing_bytes = end - len(self._buffer)
        if missing_bytes > 0:
            self.missing_bytes = missing_bytes
            if self.is_ended:
                self._check_end()
            return None
        with memoryview(self._buffer) as view:
            message = bytes(view[PREFIX_BYTES:end])
        if len(self._buffer) == end:
            self._buffer = bytearray()
        else:
            del self._buffer[:end]
        return message

    def _end(self) -> int:
        """Return where the next message ends, or as far as it must be known to tell."""
        buffer = self._buffer
        if len(buffer) < PREFIX_BYTES:
            return PREFIX_BYTES
        if buffer[0]:
            raise self._broken("compressed, which nobody offered")
        length = self._length()
        head_end = PREFIX_BYTES + min(length, _HEAD_BYTES)
        if len(buffer) < head_end:
            return head_end
        most = self._limit(bytes(buffer[PREFIX_BYTES:head_end]))
        if length > most:
            told = f"{self._what}: a message of {length} bytes, its kind may have {most}"
            raise RpcError(RpcFault.OVERSIZED, told)
        return PREFIX_BYTES + length

    def _length(self) -> int:
        return int.from_bytes(self._buffer[1:PREFIX_BYTES], "big")

    def _check_end(self) -> None:
        """Raise RpcError unless the peer has ended the call well, behind a whole message."""
        self.check()
        size = len(self._buffer)
        if 0 < size < PREFIX_BYTES:
            raise self._broken("cut in its length")
        if size:
            raise self._broken(f"{size - PREFIX_BYTES} of {self._length()} bytes")

    # ---- the end --------------------------------------------------------------------------------

    def _finish(self, problem: RpcError | None) -> None:
        if not self.is_ended:
            self.is_ended, self._problem = True, problem

    def _ending(self, headers: Mapping[str, str]) -> RpcError | None:
        try:
            status = Status(int(headers["grpc-status"]))
        except ValueError:
            status = Status.UNKNOWN
        if status is Status.OK:
            return None
        return self._rejected(status, unquote(headers.get("grpc-message", ""), errors="replace"))

    def _refused_by_http(self, status: int, headers: Mapping[str, str]) -> RpcError:
        told = f"no gRPC: HTTP {status}, content-type {headers.get('content-type', 'none')}"
        return self._rejected(_OF_HTTP.get(status, Status.UNKNOWN), told)

    def _rejected(self, status: Status, message: str) -> RpcError:
        fault = _FAULTS.get(status, RpcFault.REJECTED)
        told = redact_foreign(message or "no text", _TOLD_CHARS)
        return RpcError(fault, f"{self._what}: {status.name}: {told}", status=status.name)

    def _broken(self, problem: str) -> RpcError:
        return RpcError(RpcFault.CUT, f"{self._what}: broken message: {problem}")


def _is_grpc(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").startswith("application/grpc")
