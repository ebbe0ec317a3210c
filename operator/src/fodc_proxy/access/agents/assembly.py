# SPDX-License-Identifier: Apache-2.0
"""Builds the gate for agents and its certificate from settings."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fodc_proxy.access.agents.gate import Gate
from fodc_proxy.access.agents.paces import Pace, Paces
from fodc_proxy.access.agents.rules import PodRules, Rules
from fodc_proxy.access.agents.token_lines import OPTION, parse_tokens
from fodc_proxy.access.audit import Deed
from fodc_proxy.access.kept_file import KeptFile
from fodc_proxy.access.token_reviews import TokenReviews
from fodc_proxy.settings import AgentAccess, Settings
from fodc_tls.parts import CLIENT_CA, LEAF_CERTIFICATE, LEAF_KEY

if TYPE_CHECKING:
    from fodc_tls.serving import ServingCertificate, Source


def gate_of(
    settings: Settings,
    reviews: TokenReviews | None,
    pods: PodRules,
    audit: Callable[[Deed], None],
) -> Gate:
    """Return the gate on the gRPC port; raises OptionError for a file that cannot be used."""
    access = settings.agents
    tokens = None
    if access.tokens_file:
        tokens = KeptFile(OPTION, access.tokens_file, parse_tokens)
    rules = rules_of(access, is_loopback=settings.grpc_listen.is_loopback)
    # All of them come back at once when the proxy is restarted.
    whole = Pace(settings.limits.max_agents, access.registrations_per_s)
    paces = Paces(whole)
    return Gate(rules, reviews=reviews, tokens=tokens, pods=pods, paces=paces, audit=audit)


def certificate_of(settings: Settings, kept: "Source | None") -> "ServingCertificate | None":
    """Return what the listener shows: files, else what the host keeps, else nothing.

    A loopback listener needs nothing of the host.
    """
    access = settings.agents
    is_kept = kept is not None and not settings.grpc_listen.is_loopback
    if not access.certificate_file and not is_kept:
        return None
    # OpenSSL is memory that only those pay for who have a certificate.
    from fodc_tls.serving import ServingCertificate, files_source  # noqa: PLC0415 - see above

    files = {
        LEAF_CERTIFICATE: access.certificate_file,
        LEAF_KEY: access.key_file,
        CLIENT_CA: access.client_ca_file,
    }
    if access.certificate_file:
        told = {part: Path(name) for part, name in files.items() if name}
        source = files_source(told, "--grpc-tls-*-file")
    else:
        assert kept is not None
        source = kept
    return ServingCertificate(source, Counter(), whose="the gRPC port")


def rules_of(access: AgentAccess, *, is_loopback: bool) -> Rules:
    """Return what is asked of agents on a listener."""
    by_default = is_loopback or access.is_insecure
    return Rules(
        is_loopback=is_loopback,
        trusts_machine=is_loopback and not (access.tokens_file or access.client_ca_file),
        admits_strangers=access.is_insecure,
        admits_legacy=access.legacy == "allow" or (access.legacy == "auto" and by_default),
    )
