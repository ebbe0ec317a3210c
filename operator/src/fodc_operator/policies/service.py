# SPDX-License-Identifier: Apache-2.0
"""What the leader does about FodcInjections, put together: statuses, releases, certificates."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

from fodc_kube import kinds
from fodc_kube.client import Cluster
from fodc_kube.conditions import Condition
from fodc_kube.events import Events
from fodc_kube.informer import Informer
from fodc_kube.listing import Listing
from fodc_kube.store import Object, Store
from fodc_operator.policies.authority_maps import AuthorityMaps
from fodc_operator.policies.certificate_keeper import CertificateKeeper, Fault, Keeping
from fodc_operator.policies.certificate_state import NO_TLS
from fodc_operator.policies.reconciler import Reconciler, Surroundings
from fodc_operator.policies.settings import PolicySettings
from fodc_protocol.link import frames
from fodc_protocol.metrics.samples import Sample
from fodc_proxy.access.agents.rules import PodIdentity
from fodc_webhook.certificates import names_of
from fodc_webhook.kinds import FODC_INJECTION
from fodc_webhook.memory import name_and_labels
from fodc_webhook.settings import GRPC_SERVICE, HTTP_SERVICE
from fodc_webhook.versions import Versions

AGENTS: Final = "fodc.banyandb.dev/agents"
"""Label of a namespace whose agents are let in without a FodcInjection, as by the NetworkPolicy."""


class Policies:
    """`run` in a task while this replica leads; `seen` and `gone` from the handlers."""

    def __init__(
        self,
        cluster: Cluster,
        events: Events,
        settings: PolicySettings,
        *,
        registered: Callable[[str, str], bool | None],
        certificate: Callable[[int], Condition] = lambda _: NO_TLS,
    ) -> None:
        self._home = settings.own_namespace
        self._store = Store()
        self._wanted: set[str] = set()
        self._list = Listing(cluster, FODC_INJECTION, self._store, settings.namespaces)
        self._namespaces = Informer(cluster, kinds.NAMESPACE, keep=name_and_labels)
        self._versions = Versions(cluster)
        self._keeper = _keeper(cluster, settings)
        self._maps: AuthorityMaps | None = None
        if settings.authority is not None:
            self._maps = AuthorityMaps(
                cluster, self._store, settings.authority, always=settings.authority_in
            )
        around = Surroundings(
            settings.defaults,
            lambda: self._versions.oldest,
            registered,
            settings.own_namespace,
            frozenset({"kube-system", settings.own_namespace}),
            certificate,
        )
        self._reconciler = Reconciler(cluster, self._store, self._namespaces, events, around)

    @property
    def fault(self) -> Fault:
        """Why API servers may not trust the webhook, as the one who keeps its certificate knows."""
        return Fault() if self._keeper is None else self._keeper.fault

    @property
    def authority_fault(self) -> str:
        """Why agents may not know the proxy, empty when they can."""
        return "" if self._maps is None else self._maps.fault

    def reaches(self, who: PodIdentity, claim: frames.Identity) -> bool:
        """Say whether a pod is the remote agent, and told to reach another."""
        pod = (claim.namespace, claim.pod_name, claim.pod_uid)
        return self._reconciler.remote.reaches(who.namespace, who.name, pod)

    def admits(self, namespace: str) -> bool | None:
        """Say whether agents of a namespace are wanted: by a FodcInjection, or by its label.

        The operator's own has the remote agent, where that has something to reach. One that had a
        policy goes on without: its agents run until their pods are made anew. None while that is
        not known yet.
        """
        if namespace == self._home and self._reconciler.remote.is_wanted:
            return True
        if self._store.of_namespace(namespace) or self._is_labelled(namespace):
            self._wanted.add(namespace)
        if namespace in self._wanted:
            return True
        return False if self._list.synced and self._namespaces.synced else None

    def _is_labelled(self, namespace: str) -> bool:
        found = self._namespaces.get("", namespace)
        return found is not None and (found["metadata"].get("labels") or {}).get(AGENTS) == "true"

    async def seen(self, body: Object) -> None:
        """A FodcInjection is there."""
        self._store.put(body)

    async def gone(self, body: Object) -> None:
        """A FodcInjection was deleted."""
        self._store.remove(body)

    def samples(self) -> Iterator[Sample]:
        """Return the families of policies."""
        yield from self._reconciler.samples()

    async def run(self) -> None:
        """Keep statuses and the certificate until cancelled."""
        async with asyncio.TaskGroup() as group:
            for work in (self._list.run, self._namespaces.run, self._versions.run, self._reconcile):
                group.create_task(work())
            if self._maps is not None:
                group.create_task(self._hand_out(self._maps))
            if self._keeper is not None:
                group.create_task(self._keeper.run())

    async def _hand_out(self, maps: AuthorityMaps) -> None:
        """Hand nothing out before it is known where."""
        await self._list.wait_synced()
        await maps.run()

    async def _reconcile(self) -> None:
        """Judge no pod before all is known by which the webhook would."""
        await self._list.wait_synced()
        await self._namespaces.wait_synced()
        await self._versions.wait_known()
        await self._reconciler.run()


def _keeper(cluster: Cluster, settings: PolicySettings) -> CertificateKeeper | None:
    """Return who makes certificates; nobody does where somebody else keeps them."""
    if not settings.config_name:
        return None
    # One certificate for every listener of ours.
    names = [
        name
        for service in (settings.service_name, GRPC_SERVICE, HTTP_SERVICE)
        for name in names_of(service, settings.own_namespace)
    ]
    names += names_of(settings.service_name, settings.own_namespace, settings.extra_sans)[3:]
    keeping = Keeping(settings.own_namespace, settings.secret_name, settings.config_name, names)
    return CertificateKeeper(cluster, keeping)
