# SPDX-License-Identifier: Apache-2.0
"""Reads the Secret in which the operator keeps certificates."""

from collections.abc import Mapping

from fodc_kube import kinds
from fodc_kube.client import Cluster
from fodc_kube.errors import ClusterError
from fodc_tls.serving import Source, SourceError
from fodc_webhook import certificates


def secret_source(cluster: Cluster, namespace: str, name: str) -> Source:
    """Read the Secret by the API: a mounted one is late by a minute and more."""

    async def read() -> Mapping[str, bytes]:
        try:
            secret = await cluster.get(kinds.SECRET, namespace, name)
        except ClusterError as error:
            raise SourceError(error.message) from error
        if secret is None:
            raise SourceError(f"there is no Secret {namespace}/{name} yet; the operator makes it")
        return certificates.decoded(secret.get("data"))

    return read
