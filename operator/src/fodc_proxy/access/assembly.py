# SPDX-License-Identifier: Apache-2.0
"""Builds the door from settings; a program that embeds the proxy may bring a source of its own."""

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fodc_protocol.errors import OptionError
from fodc_proxy.access.access_reviews import AccessReviews
from fodc_proxy.access.door import CallerSource, Door
from fodc_proxy.access.oidc.claims import Issuer
from fodc_proxy.access.oidc.keys import Fetch, KeySet
from fodc_proxy.access.people import ClusterPeople
from fodc_proxy.access.settings import AccessSettings
from fodc_proxy.access.token_reviews import TokenReviews
from fodc_proxy.access.tokens_file import TokensFile
from fodc_tls.parts import LEAF_CERTIFICATE, LEAF_KEY

if TYPE_CHECKING:
    import ssl

    from fodc_tls.serving import ServingCertificate, Source

_log = logging.getLogger(__name__)


def assemble(
    settings: AccessSettings,
    fetching: "Callable[[ssl.SSLContext | None], Fetch]",
    tokens: TokenReviews | None = None,
    access: AccessReviews | None = None,
) -> Door:
    """Return the door, for people of a cluster too; raises OptionError for an unusable file."""
    if settings.is_insecure:
        door = Door(is_insecure=True)
        _log.warning("%s", door)
        return door
    sources: list[CallerSource] = []
    if settings.tokens_file:
        sources.append(TokensFile(settings.tokens_file))
    if settings.issuer is not None:
        sources.append(_oidc(settings.issuer, fetching(_trust(settings.issuer_ca_file))))
    if tokens is not None:
        sources.append(ClusterPeople(tokens))
    return Door(sources, access)


def _oidc(issuer: Issuer, fetch: Fetch) -> CallerSource:
    # What checks signatures is memory that only those pay for who have an issuer.
    from fodc_proxy.access.oidc.source import OidcCallers  # noqa: PLC0415 - see above

    return OidcCallers(issuer, KeySet(issuer.url, fetch))


def _trust(ca_file: str) -> "ssl.SSLContext | None":
    """Return whom an issuer is known by; raises OptionError."""
    import ssl  # noqa: PLC0415 - memory that a proxy without TLS does not pay for

    try:
        return ssl.create_default_context(cafile=ca_file) if ca_file else None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise OptionError(f"--http-oidc-ca-file: cannot use {ca_file}: {why}") from error


def certificate_of(
    settings: AccessSettings, kept: "Source | None" = None
) -> "ServingCertificate | None":
    """Return what the HTTP port shows: files, else what the host keeps; None is in the clear."""
    if kept is None and not settings.certificate_file:
        return None
    # As with `ssl` above.
    from fodc_tls.serving import ServingCertificate, files_source  # noqa: PLC0415 - see above

    files = {
        LEAF_CERTIFICATE: Path(settings.certificate_file),
        LEAF_KEY: Path(settings.key_file),
    }
    if kept is None or settings.certificate_file:
        kept = files_source(files, "--http-tls-*-file")
    return ServingCertificate(kept, Counter(), whose="the HTTP port")
