# SPDX-License-Identifier: Apache-2.0
"""How to reach the API server: the pod's service account, or a kubeconfig given by flag."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException

from fodc_protocol.errors import OptionError

NO_LIMIT = 0
"""Connections at a time. A watch holds one for as long as it lasts, and each namespace with a
FodcInjection has one; a limit would let the renewal of the lease wait behind them for ever."""


async def configuration_of(kubeconfig: str) -> Configuration:
    """Return the client's configuration; raises OptionError that says what is missing.

    An empty `kubeconfig` means the service account of the pod, whose token is read anew each
    minute.
    """
    found = Configuration()
    # Retries are ours: one place decides what is repeated and for how long.
    found.retries = None
    found.connection_pool_maxsize = NO_LIMIT
    try:
        if kubeconfig:
            # Two functions of the library that have no types.
            load = config.load_kube_config
            await load(  # type: ignore[no-untyped-call]  # as said
                kubeconfig, client_configuration=found, persist_config=False
            )
        else:
            config.load_incluster_config(found)  # type: ignore[no-untyped-call]  # the library's
    except (ConfigException, OSError) as error:
        where = f"--kubeconfig={kubeconfig}" if kubeconfig else "no pod's service account here"
        hint = "" if kubeconfig else "; outside of a cluster give --kubeconfig"
        raise OptionError(f"{where}: {error}{hint}") from error
    return found


@asynccontextmanager
async def api_client(kubeconfig: str, program: str = "fodc") -> AsyncIterator[ApiClient]:
    """Own a client for a with-block; `program` is how the server's audit names it."""
    client = ApiClient(configuration=await configuration_of(kubeconfig))
    client.user_agent = program
    try:
        yield client
    finally:
        await client.close()  # type: ignore[no-untyped-call]  # the library's


def bearer_of(found: Configuration) -> str:
    """Return the token to send now, empty for clients with certificates.

    The token of a service account is read anew when a minute has passed.
    """
    refresh: Callable[[Configuration], None] | None = getattr(found, "refresh_api_key_hook", None)
    if refresh is not None:
        refresh(found)
    said = str(found.api_key.get("BearerToken", ""))
    return said.partition(" ")[2] if said.lower().startswith("bearer ") else said


@dataclass(frozen=True, slots=True)
class Access:
    """How another client reaches the same API server."""

    server: str
    ca_file: str = ""
    token: str = ""
    certificate_file: str = ""
    key_file: str = ""
    insecure: bool = False


def access_of(api: ApiClient) -> Access:
    """Return what another client needs to know, its token as it is now."""
    found = api.configuration
    return Access(
        found.host,
        found.ssl_ca_cert or "",
        bearer_of(found),
        found.cert_file or "",
        found.key_file or "",
        insecure=not found.verify_ssl,
    )
