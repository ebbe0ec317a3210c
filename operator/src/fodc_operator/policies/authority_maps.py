# SPDX-License-Identifier: Apache-2.0
"""Hands out who signs the proxy's certificate: a ConfigMap in each namespace with a FodcInjection.

The one idea: agents mount it beside their token, so that a rotation reaches them without a new pod.
What was written is believed for a minute; a namespace that gets its first policy is served at once.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from fodc_kube import kinds
from fodc_kube.client import Cluster, Object
from fodc_kube.errors import ClusterError, ConflictError
from fodc_kube.store import Change, Store
from fodc_tls.serving import Source, SourceError
from fodc_webhook.certificates import CA_CERTIFICATE
from fodc_webhook.inject.rendering import AUTHORITY, AUTHORITY_MAP
from fodc_webhook.kinds import GROUP
from fodc_webhook.resources.fodc_injection import KIND

POLL_S: Final = 10.0
RECHECK_S: Final = 60.0
MOST_BYTES: Final = 64 * 1024
_LABELS: Final = {"app.kubernetes.io/managed-by": "fodc-operator"}
_log = logging.getLogger(__name__)


class AuthorityMaps:
    """`run` in a task while this replica leads."""

    def __init__(
        self,
        cluster: Cluster,
        policies: Store,
        source: Source,
        *,
        always: tuple[str, ...] = (),
        poll_s: float = POLL_S,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Hand it out in the namespaces of `always` too, whether they have a policy or not."""
        self._always = always
        self.fault = ""
        """Why agents somewhere may not know the proxy; empty when all can."""
        self._cluster = cluster
        self._policies = policies
        self._source = source
        self._poll_s = poll_s
        self._clock_s = clock_s
        self._done: dict[str, tuple[Mapping[str, Any], float]] = {}
        self._changed = asyncio.Event()
        policies.on_change(self._note)

    def _note(self, _change: Change) -> None:
        self._changed.set()

    async def run(self) -> None:
        """Keep the ConfigMaps until cancelled."""
        while True:
            self._changed.clear()
            await self.turn()
            try:
                async with asyncio.timeout(self._poll_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def turn(self) -> None:
        """Bring every namespace up to date; what fails is tried again by the next turn."""
        try:
            bundle = (await self._source()).get(CA_CERTIFICATE, b"").decode("ascii")
        except (SourceError, UnicodeDecodeError) as error:
            self._tell(str(error))
            return
        if not 0 < len(bundle) <= MOST_BYTES:
            self._tell(f"the certificate authority has {len(bundle)} bytes")
            return
        if "PRIVATE KEY" in bundle:
            self._tell(
                "beside the certificate authority stands a private key: nothing is handed out"
            )
            return
        problems = [await self._bring(*one, bundle) for one in self._owners().items()]
        self._tell(next(filter(None, problems), ""))

    def _owners(self) -> dict[str, list[Object]]:
        found: dict[str, list[Object]] = {namespace: [] for namespace in self._always}
        for one in self._policies.items():
            found.setdefault(str(one["metadata"]["namespace"]), []).append(one)
        for namespace in self._done.keys() - found.keys():
            del self._done[namespace]
        return found

    async def _bring(self, namespace: str, owners: list[Object], bundle: str) -> str:
        wanted = config_map(owners, bundle)
        done, until_s = self._done.get(namespace, (None, 0.0))
        if done == wanted and self._clock_s() < until_s:
            return ""
        try:
            await self._write(namespace, wanted)
        except ClusterError as error:
            self._done.pop(namespace, None)
            return f"ConfigMap {namespace}/{AUTHORITY_MAP}: {error.message}"
        self._done[namespace] = wanted, self._clock_s() + RECHECK_S
        return ""

    async def _write(self, namespace: str, wanted: Mapping[str, Any]) -> None:
        there = await self._cluster.get(kinds.CONFIG_MAP, namespace, AUTHORITY_MAP)
        if there is None:
            try:
                await self._cluster.create(kinds.CONFIG_MAP, namespace, wanted)
            except ConflictError:
                # An attempt before this one was heard after all.
                await self._patch(namespace, wanted)
        elif there.get("data") != wanted["data"] or _owners_of(there) != _owners_of(wanted):
            await self._patch(namespace, wanted)

    async def _patch(self, namespace: str, wanted: Mapping[str, Any]) -> None:
        await self._cluster.patch(kinds.CONFIG_MAP, namespace, AUTHORITY_MAP, wanted)

    def _tell(self, problem: str) -> None:
        if problem and problem != self.fault:
            _log.warning("agents may not know the proxy: %s", problem)
        self.fault = problem


def config_map(owners: list[Object], bundle: str) -> Mapping[str, Any]:
    """Return the ConfigMap of a namespace; it goes with the last of the policies."""
    references = [
        {
            "apiVersion": f"{GROUP}/v1alpha1",
            "kind": KIND,
            "name": one["metadata"]["name"],
            "uid": one["metadata"]["uid"],
        }
        for one in sorted(owners, key=lambda one: str(one["metadata"]["name"]))
    ]
    metadata = {"name": AUTHORITY_MAP, "labels": _LABELS, "ownerReferences": references}
    return {"metadata": metadata, "data": {AUTHORITY: bundle}}


def _owners_of(one: Mapping[str, Any]) -> list[object]:
    references = one["metadata"].get("ownerReferences") or ()
    return [reference.get("uid") for reference in references]
