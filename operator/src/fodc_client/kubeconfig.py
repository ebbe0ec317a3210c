# SPDX-License-Identifier: Apache-2.0
"""The way to a proxy in a cluster: through its API server, by the kubeconfig that kubectl has.

The one idea: the API server takes `Authorization` for itself and out of what it passes on, so the
proxy gets the same token in a header of its own. Only who asks for a cluster pays for the library.
"""

import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from fodc_client.errors import BadUsageError
from fodc_client.ways import Way

OTHER_HEADER: Final = "X-FODC-Authorization"
_NO_LIBRARY: Final = "--context needs the library kubernetes: pip install 'banyandb-fodc[cluster]'"


def way_through_cluster(context: str, kubeconfig: str, service: str, token: str) -> Way:
    """Return the way; an empty `context` is the current one, an empty `token` that of the context.

    Raises BadUsageError for a kubeconfig that cannot be used, and for one without a token.
    """
    try:
        from kubernetes.client import Configuration  # noqa: PLC0415 - half a second of its own
        from kubernetes.config import ConfigException, load_kube_config  # noqa: PLC0415 - as above
    except ImportError:
        raise BadUsageError(_NO_LIBRARY) from None
    found = Configuration()
    try:
        # A function of the library that has no types.
        load_kube_config(  # type: ignore[no-untyped-call]  # as said
            kubeconfig or None, context or None, client_configuration=found, persist_config=False
        )
    except (ConfigException, OSError, ValueError) as error:
        raise BadUsageError(f"the kubeconfig cannot be used: {error}") from None
    given = str(found.api_key.get("BearerToken", ""))
    own = given.partition(" ")[2] if given.lower().startswith("bearer ") else given
    if not (token or own):
        raise BadUsageError(_without_token(context, has_certificate=bool(found.cert_file)))
    return Way(
        _url(str(found.host), service),
        _headers(own, token or own),
        _trust(found) if str(found.host).startswith("https") else None,
        is_cluster=True,
    )


def _url(host: str, service: str) -> str:
    namespace, _, name = service.rpartition("/")
    where = f"namespaces/{quote(namespace, safe='')}/services/{quote(name, safe=':')}:http/proxy"
    return f"{host.rstrip('/')}/api/v1/{where}"


def _headers(own: str, token: str) -> Mapping[str, str]:
    """Return what the API server is shown, and what it passes on."""
    to_server = {"Authorization": f"Bearer {own}"} if own else {}
    return {**to_server, OTHER_HEADER: f"Bearer {token}"}


def _trust(found: object) -> ssl.SSLContext:
    """Return whom the context trusts, and by which certificate it is known."""
    context = ssl.create_default_context(cafile=getattr(found, "ssl_ca_cert", None))
    if not getattr(found, "verify_ssl", True):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate, key = getattr(found, "cert_file", None), getattr(found, "key_file", None)
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


def _without_token(context: str, *, has_certificate: bool) -> str:
    which = f"context {context!r}" if context else "the current context"
    has = "a certificate and no token" if has_certificate else "no token"
    return (
        f"{which} has {has}, and the proxy knows callers by tokens: make one, such as by "
        "`kubectl create token NAME`, and give it by --token-file or FODC_TOKEN"
    )
