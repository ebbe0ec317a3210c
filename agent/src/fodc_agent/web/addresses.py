# SPDX-License-Identifier: Apache-2.0
"""Sockets that are open before anything else runs.

The one idea: a port that is taken is told at once and by the name of the flag, not as a stack
trace from the depth of a server (W-03: a probe finds the port open from the first moment).
"""

import errno
import socket
from typing import Final

from fodc_protocol.addresses import Address
from fodc_protocol.errors import FodcError, Reason

_BACKLOG: Final = 64


class ListenError(FodcError):
    """A port cannot be opened; the message names the flag, the address and the cause."""

    default_reason = Reason.INTERNAL


def open_listener(address: Address, flag: str) -> socket.socket:
    """Return a listening socket; raises ListenError that says what is in the way."""
    try:
        listener = _listening(address)
    except OSError as error:
        raise ListenError(f"{flag} {address}: {_cause(address, error)}") from error
    # Accepted sockets inherit it.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return listener


def _listening(address: Address) -> socket.socket:
    if not address.host and socket.has_dualstack_ipv6():
        return socket.create_server(
            ("::", address.port),
            family=socket.AF_INET6,
            backlog=_BACKLOG,
            dualstack_ipv6=True,
        )
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return socket.create_server((address.host, address.port), family=family, backlog=_BACKLOG)


def _cause(address: Address, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {address.port} is taken by another program; choose another port"
        case errno.EACCES:
            return f"no permission to listen on port {address.port}; choose one above 1023"
        case errno.EADDRNOTAVAIL:
            return f"{address.host} is no address of this machine"
        case _:
            return error.strerror or str(error)
