# SPDX-License-Identifier: Apache-2.0
"""What can go wrong between the agent and a gRPC peer.

The one idea: callers act on few kinds of failure, so the many exceptions of the transport become
one, with a kind that can be matched and a text that can be read.
"""

from enum import StrEnum


class RpcFault(StrEnum):
    """What kind of failure it was."""

    UNREACHABLE = "Unreachable"
    """No connection: refused, no such name, no answer in time."""
    NOT_TRUSTED = "NotTrusted"
    """The TLS handshake failed: another CA or name, or no TLS at all on that port."""
    UNIMPLEMENTED = "Unimplemented"
    """The peer does not know this method."""
    REJECTED = "Rejected"
    """The peer ended the call with another status than OK."""
    CUT = "Cut"
    """The connection or stream went away."""
    OVERSIZED = "Oversized"
    """The peer announced a message larger than its kind may be; nothing of it was kept."""
    LATE = "Late"
    """No answer before the deadline."""


class RpcError(Exception):
    """A call to a gRPC peer failed; `status` is the peer's status name where it sent one."""

    def __init__(self, fault: RpcFault, message: str, *, status: str = "") -> None:
        super().__init__(message)
        self.fault = fault
        self.status = status

    def again(self) -> "RpcError":
        """Return an equal one to raise; one that was raised keeps all that its callers held."""
        return RpcError(self.fault, str(self), status=self.status)
