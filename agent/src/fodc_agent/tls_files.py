# SPDX-License-Identifier: Apache-2.0
"""TLS as a client, by files that are read anew for each connection."""

from typing import TYPE_CHECKING

from fodc_protocol.lean import dataclass

if TYPE_CHECKING:
    import ssl


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """How TLS is set up; empty texts stand for "not given"."""

    ca_file: str
    cert_file: str
    key_file: str
    server_name: str


def tls_context(tls: TlsFiles) -> "ssl.SSLContext":
    """Return a client context; raises OSError for files that are missing or broken."""
    import ssl  # noqa: PLC0415 - only here does OpenSSL cost its 5 MiB

    context = ssl.create_default_context(cafile=tls.ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.cert_file:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context
