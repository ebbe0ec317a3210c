# SPDX-License-Identifier: Apache-2.0
"""Settings of the operator: those of the proxy that it embeds, and its own."""

import socket
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fodc_kube.lease_settings import LeaseSettings
from fodc_operator.mirror.budget import Rules
from fodc_operator.mirror.leaving import Patience
from fodc_operator.policies.settings import PolicySettings
from fodc_protocol.errors import BadRequestError, OptionError
from fodc_protocol.options import (
    Kind,
    Option,
    Resolved,
    not_empty,
    not_negative,
    positive,
    resolve,
    usage,
)
from fodc_proxy import settings as proxy
from fodc_webhook.settings import AGENT_OPTIONS, SECRET, defaults_of, pod_of

ENV_PREFIX: Final = "FODC_OPERATOR"
PROGRAM: Final = "fodc-operator"
DEFAULT_NAMESPACE: Final = "default"

_INJECTION: Final = (
    Option(
        "webhook-config-name",
        Kind.STRING,
        "fodc-injection",
        "MutatingWebhookConfiguration whose caBundle the leader keeps, with the certificate; empty "
        "where somebody else keeps both, such as cert-manager.",
        "NAME",
    ),
    Option(
        "webhook-secret-name",
        Kind.STRING,
        SECRET,
        "Secret of the own namespace in which the leader keeps the webhook's certificates.",
        "NAME",
        check=not_empty,
    ),
    Option(
        "webhook-service-name",
        Kind.STRING,
        "fodc-webhook",
        "Service by whose name API servers call the webhook.",
        "NAME",
        check=not_empty,
    ),
    Option(
        "webhook-extra-sans",
        Kind.LIST,
        "",
        "More names or addresses by which the webhook is called.",
        "NAME,…",
    ),
    Option(
        "agent-ca-file",
        Kind.STRING,
        "",
        "CA of the proxy's certificate, handed to agents in each namespace with a FodcInjection; "
        "empty hands out the CA of the certificate that the leader keeps.",
        "FILE",
    ),
    *AGENT_OPTIONS,
)
_OWN: Final = (
    Option(
        "http-tls",
        Kind.BOOL,
        "false",
        "Speak TLS only on the HTTP port, with the certificate of the gRPC port: the one that the "
        "leader keeps or that of --grpc-tls-cert-file; its CA is handed out in the own namespace "
        "too.",
    ),
    Option(
        "kubeconfig",
        Kind.STRING,
        "",
        "How to reach the API server; empty means the pod's service account.",
        "FILE",
    ),
    Option(
        "namespace",
        Kind.LIST,
        "",
        "Namespaces that are watched and mirrored into; empty means all.",
        "NAME,…",
    ),
    Option(
        "pod-name",
        Kind.STRING,
        "",
        "Name of the own pod; else from POD_NAME; may be empty.",
        "NAME",
    ),
    Option(
        "pod-namespace",
        Kind.STRING,
        "",
        "Namespace of the own pod, of the lease, and of nodes that tell none; else from "
        "POD_NAMESPACE.",
        "NAME",
    ),
    Option(
        "lease-name",
        Kind.STRING,
        "fodc-operator",
        "Lease by which the replicas agree on a leader.",
        "NAME",
        check=not_empty,
    ),
    Option(
        "lease-duration",
        Kind.DURATION,
        "10s",
        "After so long without renewal a standby takes over.",
        check=positive,
    ),
    Option(
        "lease-renew",
        Kind.DURATION,
        "7s",
        "A leader that cannot renew for so long writes nothing until it can.",
        check=positive,
    ),
    Option("lease-retry", Kind.DURATION, "2s", "Pause between attempts.", check=positive),
    Option(
        "leader-label",
        Kind.STRING,
        "fodc.banyandb.dev/leader",
        "Label that the leader's pod gets, for the Services to select it; empty for none.",
        "KEY",
    ),
    Option(
        "status-refresh",
        Kind.DURATION,
        "60s",
        "A FodcNode without news is refreshed at most so often; less often beyond 240 nodes.",
        check=positive,
    ),
    Option(
        "status-writes-per-s",
        Kind.FLOAT,
        "20",
        "Writes of FodcNodes per second in the long run.",
        check=positive,
    ),
    Option(
        "retention",
        Kind.DURATION,
        "24h",
        "How long the FodcNode of a node that left is kept.",
        check=not_negative,
    ),
    Option(
        "startup-grace",
        Kind.DURATION,
        "90s",
        "A new leader marks no silent node Offline for so long; at least three heartbeats.",
        check=positive,
    ),
    *_INJECTION,
)
_CERTIFICATES: Final = ("webhook-config-name", "grpc-tls-cert-file", "http-tls-cert-file")
"""Each of them says where the HTTP port's certificate may come from."""
OPTIONS: Final = (*proxy.OPTIONS[:-4], *_OWN, *proxy.OPTIONS[-4:])


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the operator can be told; lengths of time in seconds."""

    proxy: proxy.Settings
    kubeconfig: str
    namespaces: tuple[str, ...]
    pod_name: str
    own_namespace: str
    lease: LeaseSettings
    leader_label: str
    writes: Rules
    patience: Patience
    policies: PolicySettings
    agent_ca_file: str = ""
    is_http_sealed: bool = False
    """Whether people are shown the certificate that agents are."""


def resolved(
    argv: Sequence[str], environ: Mapping[str, str], file_values: Mapping[str, object] | None = None
) -> Resolved:
    """Return every option's value; raises OptionError that lists all problems.

    POD_NAME and POD_NAMESPACE, as manifests set them from the pod's fields, count as variables of
    ours.
    """
    return resolve(
        OPTIONS, argv, {**pod_of(environ, ENV_PREFIX), **environ}, ENV_PREFIX, file_values
    )


def settings_of(values: Resolved) -> Settings:
    """Return the settings; raises OptionError when values do not fit each other."""
    embedded = proxy.settings_of(values)
    own_namespace = values.text("pod-namespace") or DEFAULT_NAMESPACE
    try:
        return Settings(
            embedded,
            values.text("kubeconfig"),
            values.list_of("namespace"),
            values.text("pod-name"),
            own_namespace,
            _lease_of(values, own_namespace),
            values.text("leader-label"),
            Rules(
                refresh_s=values.number("status-refresh"),
                writes_per_s=values.number("status-writes-per-s"),
            ),
            _patience_of(values, embedded),
            _policies_of(values, own_namespace),
            values.text("agent-ca-file"),
            _is_http_sealed(values),
        )
    except BadRequestError as error:
        raise OptionError(error.message) from error


def _is_http_sealed(values: Resolved) -> bool:
    wanted = values.flag("http-tls")
    if wanted and not any(values.text(name) for name in _CERTIFICATES):
        message = (
            "--http-tls needs the certificate that the leader keeps; where somebody else keeps"
        )
        raise OptionError(f"{message} it, give --grpc-tls-cert-file and --grpc-tls-key-file")
    return wanted


def _lease_of(values: Resolved, namespace: str) -> LeaseSettings:
    name = values.text("pod-name") or socket.gethostname()
    return LeaseSettings(
        values.text("lease-name"),
        namespace,
        # A restarted container is another candidate than the one before it.
        f"{name}_{uuid.uuid4().hex[:8]}",
        values.number("lease-duration"),
        values.number("lease-renew"),
        values.number("lease-retry"),
    )


def _patience_of(values: Resolved, embedded: proxy.Settings) -> Patience:
    return Patience(
        heartbeat_ms=round(embedded.heartbeat_interval_s * 1000),
        grace_ms=round(values.number("startup-grace") * 1000),
        lost_ms=embedded.limits.cleanup_timeout_ms,
        retention_ms=round(values.number("retention") * 1000),
    )


def _policies_of(values: Resolved, namespace: str) -> PolicySettings:
    return PolicySettings(
        namespace,
        values.list_of("namespace"),
        defaults_of(values, namespace),
        values.text("webhook-config-name"),
        values.text("webhook-secret-name"),
        values.text("webhook-service-name"),
        values.list_of("webhook-extra-sans"),
    )


def help_text() -> str:
    """Return the text of `--help`."""
    examples = (
        "fodc-operator",
        "fodc-operator --kubeconfig=$HOME/.kube/config --pod-namespace=banyandb",
    )
    about = "Runs FODC in a Kubernetes cluster: the proxy, FodcNodes and DiagnosticRequests."
    return usage(OPTIONS, PROGRAM, examples, about=about, env_prefix=ENV_PREFIX)
