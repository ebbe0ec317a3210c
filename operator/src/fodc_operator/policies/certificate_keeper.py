# SPDX-License-Identifier: Apache-2.0
"""The leader's part in the webhook's certificates: the Secret, and whom API servers trust.

The one idea: look every few seconds, take the one step that is due, and put back what somebody
else took away; two leaders at a time cannot both write, because each names the version it read.
"""

import asyncio
import base64
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from fodc_kube import kinds
from fodc_kube.client import Cluster, Object
from fodc_kube.errors import ClusterError, ConflictError
from fodc_webhook import certificates
from fodc_webhook.certificates import CA_CERTIFICATE, Name, Rules, Step

POLL_S: Final = 5.0
NOT_CONFIGURED: Final = "NotConfigured"
NOT_KEPT: Final = "CertificateNotKept"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Keeping:
    """What is kept: names of objects, and the names by which the webhook is called."""

    namespace: str
    secret: str
    configuration: str
    """MutatingWebhookConfiguration; empty when somebody else writes its caBundle."""
    names: Sequence[Name]
    rules: Rules = field(default_factory=Rules)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why API servers may not reach the webhook: a word and a sentence; both empty for none."""

    reason: str = ""
    message: str = ""


class CertificateKeeper:
    """`run` in a task while this replica leads."""

    def __init__(
        self,
        cluster: Cluster,
        keeping: Keeping,
        *,
        poll_s: float = POLL_S,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.fault = Fault()
        self._cluster = cluster
        self._keeping = keeping
        self._poll_s = poll_s
        self._now = now

    async def run(self) -> None:
        """Keep Secret and caBundle until cancelled."""
        while True:
            if not await self.turn():
                await asyncio.sleep(self._poll_s)

    async def turn(self) -> bool:
        """Do what is due; say whether more may be due at once."""
        try:
            return await self._turn()
        except ConflictError:
            # Somebody else wrote: what is due is decided anew from what there is now.
            return False
        except ClusterError as error:
            self._note(Fault(NOT_KEPT, error.message))
            return False

    async def _turn(self) -> bool:
        keeping = self._keeping
        secret = await self._cluster.get(kinds.SECRET, keeping.namespace, keeping.secret)
        data = certificates.decoded((secret or {}).get("data"))
        fault = await self._publish(data.get(CA_CERTIFICATE, b""))
        held = certificates.read(data)
        due = certificates.decide(held, keeping.names, self._now(), keeping.rules)
        is_held_back = due.needs_trust and fault != Fault()
        if due.step is Step.KEEP or is_held_back:
            self._note(fault)
            return False
        _log.info("the webhook's certificates: %s, because %s", due.step, due.reason)
        parts = certificates.carried_out(due.step, held, keeping.names, self._now(), keeping.rules)
        await self._write(secret, parts)
        self._note(await self._publish(parts[CA_CERTIFICATE]))
        return True

    async def _write(self, secret: Object | None, parts: Mapping[str, bytes]) -> None:
        keeping = self._keeping
        data = {name: base64.b64encode(part).decode("ascii") for name, part in parts.items()}
        if secret is None:
            labels = {"app.kubernetes.io/managed-by": "fodc-operator"}
            metadata = {"name": keeping.secret, "labels": labels}
            body = {"metadata": metadata, "type": "kubernetes.io/tls", "data": data}
            await self._cluster.create(kinds.SECRET, keeping.namespace, body)
            return
        await self._cluster.patch(
            kinds.SECRET,
            keeping.namespace,
            keeping.secret,
            {"data": data},
            resource_version=secret["metadata"]["resourceVersion"],
        )

    async def _publish(self, bundle: bytes) -> Fault:
        """Let every entry of the configuration trust these CAs; an empty bundle changes nothing."""
        name = self._keeping.configuration
        if not name:
            return Fault()
        kind = kinds.MUTATING_WEBHOOK_CONFIGURATION
        found = await self._cluster.get(kind, "", name)
        if found is None:
            text = f"there is no MutatingWebhookConfiguration {name}, so no pod gets an agent"
            return Fault(NOT_CONFIGURED, text)
        wanted = base64.b64encode(bundle).decode("ascii")
        steps = list(_steps(found, wanted)) if bundle else []
        if steps:
            await self._cluster.patch_steps(kind, "", name, steps)
            _log.info("MutatingWebhookConfiguration %s trusts the CAs of its Secret", name)
        return Fault()

    def _note(self, fault: Fault) -> None:
        if fault.message and fault != self.fault:
            _log.warning("the webhook's certificates: %s", fault.message)
        self.fault = fault


def _steps(configuration: Object, wanted: str) -> Iterator[Mapping[str, Any]]:
    """Yield what sets the caBundle; nothing else of the configuration is touched."""
    version = configuration["metadata"]["resourceVersion"]
    webhooks = configuration.get("webhooks") or []
    due = [
        at
        for at, one in enumerate(webhooks)
        if (one.get("clientConfig") or {}).get("caBundle") != wanted
    ]
    if due:
        # Refused with a conflict when it has changed since.
        yield {"op": "replace", "path": "/metadata/resourceVersion", "value": version}
    for at in due:
        yield {"op": "add", "path": f"/webhooks/{at}/clientConfig/caBundle", "value": wanted}
