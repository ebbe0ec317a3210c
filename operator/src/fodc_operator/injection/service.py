# SPDX-License-Identifier: Apache-2.0
"""Everything that the injection runs in one replica, put together.

The one idea: every replica answers about pods and shows the same certificate; only the leader
makes certificates and keeps statuses. Nothing of it can end the operator: what fails is told, and
begun again.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fodc_kube.client import Cluster
from fodc_kube.events import Events
from fodc_operator.injection import certificates
from fodc_operator.injection.certificate_keeper import CertificateKeeper, Fault, Keeping
from fodc_operator.injection.known import Known
from fodc_operator.injection.reconciler import Reconciler, Surroundings
from fodc_operator.injection.serving_certificate import (
    ServingCertificate,
    Source,
    folder_source,
    secret_source,
)
from fodc_operator.injection.standing import WebhookHealth
from fodc_operator.injection.webhook import Webhook
from fodc_operator.injection.webhook_figures import WebhookFigures
from fodc_operator.resources.fodc_injection import Defaults
from fodc_protocol.addresses import Address, parse_endpoint
from fodc_protocol.metrics.samples import Sample

AGAIN_S: Final = 5.0
PROBE_S: Final = 10.0
PROBE_DEADLINE_S: Final = 2.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class InjectionSettings:
    """What the injection can be told."""

    listen: Address
    own_namespace: str
    namespaces: tuple[str, ...]
    """Where policies are watched; none means everywhere."""
    defaults: Defaults
    config_name: str
    secret_name: str
    service_name: str
    cert_dir: str
    extra_sans: tuple[str, ...] = ()


class InjectionService:
    """`listen`, then `run` in a task; `lead` in another while this replica leads; `stop`."""

    def __init__(
        self,
        cluster: Cluster,
        events: Events,
        settings: InjectionSettings,
        *,
        captures: Callable[[str], bool],
    ) -> None:
        self._settings = settings
        self._figures = WebhookFigures()
        self._known = Known(cluster, settings.namespaces, settings.defaults)
        self._webhook = Webhook(self._known, self._figures, events.tell_seldom)
        self._certificate = ServingCertificate(_source(cluster, settings), self._figures)
        self._keeper = _keeper(cluster, settings, self._certificate.look_now)
        self._probed = "it was not asked yet"
        self._leads = False
        around = Surroundings(
            settings.defaults,
            lambda: self._known.server_version,
            self.health,
            captures,
            excluded=frozenset({"kube-system", settings.own_namespace}),
        )
        self._reconciler = Reconciler(
            cluster, self._known.policies, self._known.namespaces, events, around
        )

    # ---- what it tells of itself --------------------------------------------------------------

    @property
    def address(self) -> str:
        """Where API servers ask, empty before `listen`."""
        return self._webhook.address

    @property
    def fault(self) -> Fault:
        """Why this replica cannot answer API servers now; both parts empty when it can."""
        if not self._webhook.address:
            return Fault("NotListening", "the webhook does not listen")
        if self._certificate.fault:
            return Fault("NoCertificate", self._certificate.fault)
        if self._known.missing:
            return Fault("NotSynced", self._known.missing)
        return Fault("NoAnswer", self._probed) if self._probed else Fault()

    def health(self) -> WebhookHealth:
        """Return what the statuses say of the webhook; by the leader, who keeps the CAs."""
        fault = self.fault
        if fault == Fault() and self._keeper is not None:
            fault = self._keeper.fault
        expires_at = self._certificate.expires_at
        expiry_ms = 0 if expires_at is None else round(expires_at.timestamp() * 1000)
        if fault == Fault():
            return WebhookHealth(certificate_expiry_ms=expiry_ms)
        return WebhookHealth(False, fault.reason, fault.message, expiry_ms)  # noqa: FBT003 - a field

    def samples(self) -> Iterator[Sample]:
        """Return the families of the injection."""
        expires_at = self._certificate.expires_at
        yield from self._figures.samples(
            certificate_expiry_s=0.0 if expires_at is None else expires_at.timestamp(),
            ready=self.fault == Fault(),
        )
        if self._leads:
            yield from self._reconciler.samples()

    # ---- life ---------------------------------------------------------------------------------

    async def listen(self) -> None:
        """Answer from now on; raises OSError for an address that cannot be had."""
        listen = self._settings.listen
        await self._certificate.refresh()
        await self._webhook.start(listen.host, listen.port, self._certificate.context)
        _log.info("the webhook listens on %s", self._webhook.address)

    async def run(self) -> None:
        """Keep what answers need, until cancelled; for every replica."""
        async with asyncio.TaskGroup() as group:
            for name, work in (
                ("injection-memory", self._known.run),
                ("injection-certificate", self._certificate.run),
                ("injection-probe", self._probe),
            ):
                group.create_task(_again_and_again(name, work), name=name)

    async def lead(self) -> None:
        """Keep certificates and statuses until cancelled; for the leader."""
        self._leads = True
        try:
            async with asyncio.TaskGroup() as group:
                name = "injection-reconciler"
                group.create_task(_again_and_again(name, self._reconciler.run), name=name)
                if self._keeper is not None:
                    name = "injection-certificates"
                    group.create_task(_again_and_again(name, self._keeper.run), name=name)
        finally:
            self._leads = False

    async def stop(self) -> None:
        """Listen no more; answers that are being made may be finished."""
        await self._webhook.stop()

    async def _probe(self) -> None:
        """Connect to the own listener as an API server does, again and again."""
        while True:
            self._probed = await _probed(self._webhook.address)
            await asyncio.sleep(PROBE_S if not self._probed else 1.0)


async def _again_and_again(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do it until cancelled; a fault in it is logged and must not take the proxy down."""
    while True:
        try:
            await work()
        except Exception:  # noqa: BLE001 - as said
            _log.exception("%s failed; again in %g s", name, AGAIN_S)
        await asyncio.sleep(AGAIN_S)


async def _probed(address: str) -> str:
    """Return why nobody gets through to the listener, empty when one does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Whether the certificate is the right one is known without asking.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        to = parse_endpoint(address)
        async with asyncio.timeout(PROBE_DEADLINE_S):
            _, writer = await asyncio.open_connection(to.host, to.port, ssl=context)
            writer.close()
            await writer.wait_closed()
    except (OSError, TimeoutError, ValueError) as error:
        return f"the webhook on {address} does not answer: {type(error).__name__} {error}"
    return ""


def _source(cluster: Cluster, settings: InjectionSettings) -> Source:
    if settings.cert_dir:
        return folder_source(Path(settings.cert_dir))
    return secret_source(cluster, settings.own_namespace, settings.secret_name)


def _keeper(
    cluster: Cluster, settings: InjectionSettings, written: Callable[[], None]
) -> CertificateKeeper | None:
    """Return who makes certificates; nobody does where a folder has them."""
    if settings.cert_dir:
        return None
    keeping = Keeping(
        settings.own_namespace,
        settings.secret_name,
        settings.config_name,
        certificates.names_of(settings.service_name, settings.own_namespace, settings.extra_sans),
    )
    return CertificateKeeper(cluster, keeping, written=written)
