# SPDX-License-Identifier: Apache-2.0
"""What a program that embeds the proxy knows and the proxy does not: its cluster, who leads."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fodc_api.proxy import Check
from fodc_protocol.metrics.samples import Sample
from fodc_proxy.access.access_reviews import AccessReviewer
from fodc_proxy.access.agents.rules import (
    AdmitsNamespace,
    PodRules,
    SpeaksFor,
    every_namespace,
    only_itself,
)
from fodc_proxy.access.token_reviews import TokenReviewer

if TYPE_CHECKING:
    from fodc_tls.serving import Source


def _nothing() -> tuple[()]:
    return ()


def _serves() -> bool:
    """Say of a program that embeds nothing that it does not stand by."""
    return False


@dataclass(frozen=True, slots=True)
class Host:
    """What a program that embeds the proxy adds to its readiness and to its metrics."""

    checks: Callable[[], Iterable[Check]] = _nothing
    samples: Callable[[], Iterable[Sample]] = _nothing
    # Whether it waits on purpose: such a replica is ready to take over, and serves nobody yet.
    stands_by: Callable[[], bool] = _serves
    # Whether a vote decides who serves: then an older writer to the store is on its way out.
    elected: bool = False
    # Who can tell whose a bearer token is; nobody where there is no cluster.
    token_reviewer: TokenReviewer | None = None
    # Who decides what people of that cluster may.
    access_reviewer: AccessReviewer | None = None
    # Where the certificate for agents comes from, unless files are told.
    certificate: "Source | None" = None
    # And that for people.
    http_certificate: "Source | None" = None
    # Which pods are agents that reach others over the network.
    speaks_for: SpeaksFor = only_itself
    # Of which namespaces agents with a token of their pod are wanted.
    admits_namespace: AdmitsNamespace = every_namespace
    # Where it stands, and with it agents that cannot tell their own.
    namespace: str = ""

    @property
    def pods(self) -> PodRules:
        """What is known of pods, for the gate."""
        return PodRules(self.speaks_for, self.admits_namespace, self.namespace)
