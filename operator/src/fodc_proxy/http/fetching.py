# SPDX-License-Identifier: Apache-2.0
"""One GET of the proxy itself, bounded in time and bytes: what an issuer of tokens tells."""

from typing import TYPE_CHECKING, Final

import aiohttp

from fodc_protocol.errors import BadRequestError
from fodc_proxy.access.oidc.keys import Fetch

if TYPE_CHECKING:
    import ssl

MAX_BYTES: Final = 1024 * 1024
TIMEOUT_S: Final = 5.0


def fetching(tls: "ssl.SSLContext | None") -> Fetch:
    """Return a function that gives the body of a 200, and raises BadRequestError for all else."""

    async def fetch(url: str) -> bytes:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        connector = aiohttp.TCPConnector(ssl=True if tls is None else tls)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, connector=connector) as session,
                session.get(url, allow_redirects=False) as answer,
            ):
                if answer.status != 200:
                    raise BadRequestError(f"GET {url} was answered with {answer.status}")
                return await _bounded(url, answer.content)
        except TimeoutError:
            raise BadRequestError(f"GET {url} had no answer within {TIMEOUT_S:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise BadRequestError(f"GET {url}: {' '.join(str(error).split())[:300]}") from None

    return fetch


async def _bounded(url: str, content: aiohttp.StreamReader) -> bytes:
    data = b""
    while more := await content.read(MAX_BYTES):
        data += more
        if len(data) > MAX_BYTES:
            raise BadRequestError(f"GET {url} was answered with more than {MAX_BYTES} bytes")
    return data
