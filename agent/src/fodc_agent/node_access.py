# SPDX-License-Identifier: Apache-2.0
"""How the ports of the node are reached: TLS and credentials, from files.

The one idea: files are read anew for each connection and question, so what was rotated is taken. A
password goes over loopback or TLS only, and stands in no message.
"""

import base64
from collections.abc import Mapping
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fodc_agent.lanes import Lane
from fodc_agent.tls_files import TlsFiles, tls_context
from fodc_protocol.addresses import Address
from fodc_protocol.lean import dataclass

if TYPE_CHECKING:
    import ssl

_MOST_BYTES: Final = 4096
_ALPN: Final = ["h2"]
FLAG: Final = "--node-credentials-file"


@dataclass(frozen=True, slots=True)
class NodeAccess:
    """Access to one node; what is not given is not used."""

    host: str
    tls: TlsFiles | None = None
    """Of its gRPC ports; of its HTTP ports too with `is_https`."""
    is_https: bool = False
    credentials_file: Path | None = None
    _files: Lane = field(default_factory=partial(Lane, "node-credentials"))

    @property
    def server_name(self) -> str | None:
        """Name that the node's certificate must have; None for the host's."""
        return (self.tls.server_name or None) if self.tls is not None else None

    async def grpc_context(self) -> "ssl.SSLContext | None":
        """Return the context of a gRPC connection; raises OSError for files that are broken."""
        if self.tls is None:
            return None
        context = await self._files.run(partial(tls_context, self.tls))
        context.set_alpn_protocols(_ALPN)
        return context

    async def http_context(self) -> "ssl.SSLContext | None":
        """Return the context of an HTTP connection; raises OSError for files that are broken."""
        if self.tls is None or not self.is_https:
            return None
        return await self._files.run(partial(tls_context, self.tls))

    async def metadata(self) -> Mapping[str, str]:
        """Return what the node's gRPC wants to see; raises OSError."""
        found = await self._credentials(is_sealed=self.tls is not None)
        return {} if found is None else {"username": found[0], "password": found[1]}

    async def authorization(self) -> str:
        """Return the header of an HTTP request, empty for none; raises OSError."""
        found = await self._credentials(is_sealed=self.tls is not None and self.is_https)
        if found is None:
            return ""
        return "Basic " + base64.b64encode(":".join(found).encode()).decode("ascii")

    async def _credentials(self, *, is_sealed: bool) -> tuple[str, str] | None:
        path = self.credentials_file
        if path is None or not (is_sealed or Address(self.host, 0).is_loopback):
            return None
        data = await self._files.run(partial(_read, path))
        name, colon, password = data.decode("utf-8", "replace").partition(":")
        is_plain = (name + password).isprintable() and (name + password).isascii()
        if not (name and colon and is_plain and len(data) <= _MOST_BYTES):
            raise OSError(f"{FLAG} {path}: must hold one line USER:PASSWORD in ASCII")
        return name, password


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES + 1).strip()
    except OSError as error:
        raise OSError(f"{FLAG} {path}: {error.strerror or error}") from error
