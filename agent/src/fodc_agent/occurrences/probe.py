# SPDX-License-Identifier: Apache-2.0
"""Whether the node answers anybody at all: one short question, as cheap as one can be.

The one idea: a kernel accepts connections for a process that hangs, so a byte of an answer is what
counts; which answer it is does not matter.
"""

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from typing import Final, TypeAlias

_Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]

EVERY_S: Final = 3.0
TIMEOUT_S: Final = 2.5
_QUESTION: Final = b"HEAD / HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n"


async def problem_of(host: str, port: int, timeout_s: float = TIMEOUT_S) -> str:
    """Return why nothing answers at an HTTP port, empty when something does."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            with await _asked(host, port) as line:
                if await loop.sock_recv(line, 1):
                    return ""
            return f"{host}:{port} ends connections without an answer"
    except TimeoutError:
        return f"{host}:{port} does not answer within {timeout_s:g} s"
    except OSError as error:
        return f"{host}:{port}: {error.strerror or error}"


async def _asked(host: str, port: int) -> socket.socket:
    """Return a connection with the question on it.

    Without the streams of asyncio, which cost more than the question; nor is the connection waited
    for: on the same machine it stands at once, and elsewhere sending waits for it.
    """
    problem: OSError | None = None
    for family, address in await _addresses(host, port):
        line = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            with contextlib.suppress(BlockingIOError):
                line.connect(address)
            await asyncio.get_running_loop().sock_sendall(line, _QUESTION)
        except OSError as error:
            line.close()
            problem = problem or error
        except BaseException:
            line.close()
            raise
        else:
            return line
    assert problem is not None
    raise problem


async def _addresses(host: str, port: int) -> Sequence[tuple[int, _Address]]:
    """Return families and addresses; only names have to be looked up."""
    if ":" in host:
        return ((socket.AF_INET6, (host, port)),)
    if host.replace(".", "").isdigit():
        return ((socket.AF_INET, (host, port)),)
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]
