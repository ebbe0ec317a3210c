# SPDX-License-Identifier: Apache-2.0
"""The API server in memory with more kinds than ours, and our client of it."""

import contextlib
import functools
from collections.abc import AsyncIterator
from typing import Any

import trustme
from kubernetes.aio.client import ApiClient, Configuration

from fodc_kube.client import Cluster
from fodc_kube.retrying import Backoff
from tests.operator.memory_api.server import VERBS, MemoryApi, serving
from tests.operator.memory_api.store import Object, Resource, Store

PODS = Resource("", "v1", "pods", "Pod")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease", has_status=False)
INJECTIONS = Resource("fodc.banyandb.dev", "v1alpha1", "fodcinjections", "FodcInjection")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace")
SECRETS = Resource("", "v1", "secrets", "Secret", has_status=False)
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", has_status=False)
HOOKS = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "mutatingwebhookconfigurations",
    "MutatingWebhookConfiguration",
    has_status=False,
)
SERVED_TOO = (PODS, LEASES, INJECTIONS, NAMESPACES, SECRETS, CONFIG_MAPS, HOOKS)
CLUSTER_WIDE = (NAMESPACES, HOOKS)
FAST = Backoff(first_s=0.001, longest_s=0.01)


def memory_api() -> MemoryApi:
    """An API server that knows more kinds than ours."""
    api = MemoryApi()
    for one in SERVED_TOO:
        api.stores[one.group, one.plural] = Store(one, api.clock)
        path = f"{one.group}/{one.version}" if one.group else one.version
        info = api.resources[f"{path}/{one.plural}"]
        info.namespaced, info.kind, info.verbs = one not in CLUSTER_WIDE, one.kind, set(VERBS)
        info.subresources = {"status"} if one.has_status else set()
    return api


@functools.cache
def _an_authority() -> str:
    return trustme.CA(key_type=trustme.KeyType.ECDSA).cert_pem.bytes().decode()


def configuration_of(url: str) -> Configuration:
    """Settings of the library's client, which trusts nobody of this machine.

    Those whom it trusts are hundreds, and it reads them all for each client: most of a short test.
    """
    found = Configuration(host=url)
    found.ca_cert_data = _an_authority()
    return found


@contextlib.asynccontextmanager
async def api_client(url: str) -> AsyncIterator[ApiClient]:
    """The library's client of a server without TLS."""
    client = ApiClient(configuration=configuration_of(url))
    try:
        yield client
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def cluster(**more: Any) -> AsyncIterator[tuple[MemoryApi, Cluster]]:
    """A server in memory and our client, which does not wait long."""
    async with serving(memory_api()) as (api, url), api_client(url) as client:
        yield api, Cluster(client, **{"backoff": FAST, "chance": lambda: 0.5, **more})


def pod(name: str = "data-0", owner: str = "", node: str = "worker-1") -> Object:
    """A pod, perhaps of a StatefulSet."""
    meta: Object = {"name": name}
    if owner:
        meta["ownerReferences"] = [
            {
                "apiVersion": "apps/v1",
                "kind": "StatefulSet",
                "name": owner,
                "uid": f"uid-of-{owner}",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
    return {"metadata": meta, "spec": {"nodeName": node, "containers": []}}
