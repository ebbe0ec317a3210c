# SPDX-License-Identifier: Apache-2.0
"""Questions to an issuer, by the standard library: who has a login pays for no event loop."""

import http.client
import socket
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode, urlsplit

from fodc_client.errors import BadUsageError, UnreachableError

_LONGEST_ANSWER: Final = 256 * 1024
_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}


class Issuer:
    """One issuer; `ca_file` is for one that has an authority of its own."""

    def __init__(self, url: str, *, ca_file: str = "", wait_s: float = 10.0) -> None:
        self.url = url
        self._wait_s = wait_s
        self._tls = _trust(ca_file) if ca_file else None

    def get(self, url: str) -> tuple[int, bytes]:
        """Return status and body; raises UnreachableError."""
        return self._send("GET", url, None)

    def post(self, url: str, form: Mapping[str, str]) -> tuple[int, bytes]:
        """Send a form; return status and body. Raises UnreachableError, which repeats nothing."""
        return self._send("POST", url, urlencode(form))

    def _send(self, method: str, url: str, body: str | None) -> tuple[int, bytes]:
        parts, connection = urlsplit(url), self._connection(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Accept": "application/json", **(_FORM if body is not None else {})}
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read(_LONGEST_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(f"cannot reach the issuer {self.url}: {_why(error)}") from None
        finally:
            connection.close()

    def _connection(self, url: str) -> http.client.HTTPConnection:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme == "https":
            tls = self._tls or ssl.create_default_context()
            return http.client.HTTPSConnection(host, parts.port, timeout=self._wait_s, context=tls)
        return http.client.HTTPConnection(host, parts.port, timeout=self._wait_s)


def _trust(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise BadUsageError(f"--issuer-ca-file: cannot use {ca_file}: {why}") from None


def _why(error: OSError | http.client.HTTPException) -> str:
    if isinstance(error, socket.gaierror):
        return "no such host"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, http.client.HTTPException):
        return "what answers is no HTTP server"
    return (error.strerror or str(error)).lower()
