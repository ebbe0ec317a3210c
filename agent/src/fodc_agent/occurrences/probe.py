# SPDX-License-Identifier: Apache-2.0
"""Whether the node answers anybody at all: one short question, as cheap as one can be.

The one idea: a kernel accepts connections for a process that hangs, so a byte of an answer is what
counts; which answer it is does not matter.
"""

import asyncio
import socket
from typing import Final

EVERY_S: Final = 3.0
TIMEOUT_S: Final = 2.5
_QUESTION: Final = b"HEAD / HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n"


async def problem_of(host: str, port: int, timeout_s: float = TIMEOUT_S) -> str:
    """Return why nothing answers at an HTTP port, empty when something does."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            with await _connected(host, port) as line:
                await loop.sock_sendall(line, _QUESTION)
                if await loop.sock_recv(line, 1):
                    return ""
            return f"{host}:{port} ends connections without an answer"
    except TimeoutError:
        return f"{host}:{port} does not answer within {timeout_s:g} s"
    except OSError as error:
        return f"{host}:{port}: {error.strerror or error}"


async def _connected(host: str, port: int) -> socket.socket:
    """Return a connection without the streams of asyncio, which cost more than the question."""
    problem: OSError | None = None
    for family in _families(host):
        line = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            await asyncio.get_running_loop().sock_connect(line, (host, port))
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


def _families(host: str) -> tuple[socket.AddressFamily, ...]:
    """Return that of an address, or both for a name."""
    if ":" in host:
        return (socket.AF_INET6,)
    is_address = host.replace(".", "").isdigit()
    return (socket.AF_INET,) if is_address else (socket.AF_INET, socket.AF_INET6)
