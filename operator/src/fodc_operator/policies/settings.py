# SPDX-License-Identifier: Apache-2.0
"""What can be told about FodcInjections; apart from what uses it: `--help` needs no library."""

from dataclasses import dataclass

from fodc_tls.serving import Source
from fodc_webhook.resources.fodc_injection import Defaults


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """What can be told about FodcInjections and the webhook's certificate."""

    own_namespace: str
    namespaces: tuple[str, ...]
    """Where policies are watched; none means everywhere."""
    defaults: Defaults
    config_name: str
    """MutatingWebhookConfiguration; empty when somebody else keeps the certificate."""
    secret_name: str
    service_name: str
    extra_sans: tuple[str, ...] = ()
    authority: Source | None = None
    """Who signs what agents are shown; None where agents ask for no certificate."""
    authority_in: tuple[str, ...] = ()
    """Where else than beside FodcInjections it is handed out: for those who ask over HTTP, and for
    the remote agent."""
