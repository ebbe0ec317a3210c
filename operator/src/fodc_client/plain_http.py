# SPDX-License-Identifier: Apache-2.0
"""One GET of the standard library, for what must start fast: `fodc version` and completion.

The one idea: prompts and shells ask often, so they pay for no event loop and no client library.
"""

import http.client
import socket
from typing import Final
from urllib.parse import urlsplit

from fodc_client.addresses import UNREACHABLE_HINT
from fodc_client.errors import BadAnswerError, LostError, UnreachableError
from fodc_client.ways import Way

_LONGEST_ANSWER_BYTES: Final = 16 << 20


def get(way: Way, path: str, *, wait_s: float) -> bytes:
    """Return the body of a 200; raises a ClientError that says why there is none."""
    url, connection = way.url, _connection(way, wait_s)
    headers = {"Accept": "application/json", **way.headers}
    try:
        connection.request("GET", f"{urlsplit(url).path}{path}", headers=headers)
        response = connection.getresponse()
        data = response.read(_LONGEST_ANSWER_BYTES)
    except TimeoutError:
        raise LostError(f"the proxy at {url} did not answer within {wait_s:g} s.") from None
    except OSError as error:
        raise UnreachableError(
            f"cannot reach the proxy at {url}: {_why(error)}. {UNREACHABLE_HINT}"
        ) from None
    except http.client.HTTPException:
        raise UnreachableError(
            f"what answers at {url} is no HTTP server. {UNREACHABLE_HINT}"
        ) from None
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise BadAnswerError(f"the proxy at {url} answered GET {path} with {response.status}.")
    return data


def _connection(way: Way, wait_s: float) -> http.client.HTTPConnection:
    parts = urlsplit(way.url)
    host, port = parts.hostname or "", parts.port
    if parts.scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=wait_s, context=way.tls)
    return http.client.HTTPConnection(host, port, timeout=wait_s)


def _why(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "no such host"
    return (error.strerror or str(error)).lower()
