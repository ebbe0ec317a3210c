# SPDX-License-Identifier: Apache-2.0
"""Sockets to listen on, for both of the proxy's ports."""

import resource
import socket

from fodc_protocol.addresses import Address


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address, every interface for an empty host.

    Raises OSError with the address and the reason in the words of the system.
    """
    try:
        listening = _bound(host, port)
        # Accepted sockets inherit it; asyncio sets it itself only for sockets that it has made.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OSError(f"cannot listen on {Address(host or '::', port)}: {reason}") from error
    return listening


def _bound(host: str, port: int) -> socket.socket:
    """Every interface is one socket of both families, so that port 0 is one port."""
    if host in {"", "::"} and socket.has_dualstack_ipv6():
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    family, _, _, _, place = socket.getaddrinfo(
        host or "0.0.0.0",  # noqa: S104 - asked for
        port,
        type=socket.SOCK_STREAM,
        flags=socket.AI_PASSIVE,
    )[0]
    return socket.create_server((str(place[0]), port), family=family)


def address_of(listening: socket.socket) -> str:
    """Return where to call a socket that listens."""
    host, port = listening.getsockname()[:2]
    shown = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - for callers
    return str(Address(shown, port))


def descriptors() -> int:
    """Return how many files and connections this process may have open at once."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else soft
