# SPDX-License-Identifier: Apache-2.0
"""Whether the node answers anybody at all: one short question, as cheap as one can be.

The one idea: a kernel accepts connections for a process that hangs, so a byte of an answer is what
counts; which answer it is does not matter.
"""

import asyncio
import contextlib
from typing import Final

EVERY_S: Final = 3.0
TIMEOUT_S: Final = 2.5
_QUESTION: Final = b"HEAD / HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n"


async def problem_of(host: str, port: int, timeout_s: float = TIMEOUT_S) -> str:
    """Return why nothing answers at an HTTP port, empty when something does."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(_QUESTION)
            if await reader.read(1):
                return ""
            return f"{host}:{port} ends connections without an answer"
    except TimeoutError:
        return f"{host}:{port} does not answer within {timeout_s:g} s"
    except OSError as error:
        return f"{host}:{port}: {error.strerror or error}"
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
