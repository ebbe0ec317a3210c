# SPDX-License-Identifier: Apache-2.0
"""Settings of the webhook."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fodc_protocol.errors import OptionError
from fodc_protocol.options import (
    Address,
    Kind,
    Option,
    Resolved,
    not_empty,
    not_negative,
    resolve,
    usage,
)
from fodc_protocol.version import VERSION
from fodc_webhook.resources.fodc_injection import Defaults

ENV_PREFIX: Final = "FODC_WEBHOOK"
PROGRAM: Final = "fodc-webhook"
DEFAULT_NAMESPACE: Final = "default"
AGENT_IMAGE: Final = "banyandb-fodc-agent"
GRPC_SERVICE: Final = "fodc-proxy-grpc"
HTTP_SERVICE: Final = "fodc-proxy-http"
GRPC_PORT: Final = 17912
SECRET: Final = "fodc-webhook-certificate"  # noqa: S105 - a name

AGENT_OPTIONS: Final = (
    Option(
        "agent-image",
        Kind.STRING,
        "",
        f"Image of agents whose FodcInjection names none; empty means {AGENT_IMAGE} of the "
        "program's version.",
        "IMAGE",
    ),
    Option(
        "agent-proxy-addr",
        Kind.STRING,
        "",
        f"Where agents connect whose FodcInjection does not say; empty means the Service "
        f"{GRPC_SERVICE} of the own namespace.",
        "HOST:PORT",
    ),
)
"""Webhook and operator must agree on them: the operator tells which agents are out of date."""

OPTIONS: Final = (
    Option(
        "listen-addr",
        Kind.ADDRESS,
        ":9443",
        "Where API servers ask about new pods, by TLS.",
        "ADDRESS",
    ),
    Option(
        "http-listen-addr",
        Kind.ADDRESS,
        ":17914",
        "Where /healthz, /readyz and /metrics are answered, without TLS.",
        "ADDRESS",
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
        "Namespaces whose FodcInjections count; empty means all.",
        "NAME,…",
    ),
    Option(
        "pod-name",
        Kind.STRING,
        "",
        "Name of the own pod, for its Events; else from POD_NAME; may be empty.",
        "NAME",
    ),
    Option(
        "pod-namespace",
        Kind.STRING,
        "",
        "Namespace of the own pod and of the Secret; else from POD_NAMESPACE.",
        "NAME",
    ),
    Option(
        "secret-name",
        Kind.STRING,
        SECRET,
        "Secret of the own namespace in which the operator keeps the certificate.",
        "NAME",
        check=not_empty,
    ),
    Option(
        "cert-dir",
        Kind.STRING,
        "",
        "Folder with tls.crt and tls.key that somebody else keeps, such as cert-manager, instead "
        "of that Secret.",
        "DIR",
    ),
    Option(
        "drain",
        Kind.DURATION,
        "5s",
        "How long pods are still answered after SIGTERM, until every API server has heard that "
        "this replica leaves.",
        check=not_negative,
    ),
    *AGENT_OPTIONS,
    Option(
        "insecure-agents",
        Kind.BOOL,
        "false",
        "The operator runs with --insecure-agents: agents speak with it without TLS and token.",
    ),
    Option(
        "log-level",
        Kind.ENUM,
        "info",
        "Least important messages that are logged.",
        choices=("debug", "info", "warning", "error"),
    ),
    Option("log-format", Kind.ENUM, "text", "Form of the log.", choices=("text", "json")),
    Option("print-addresses", Kind.BOOL, "false", "Print the addresses as JSON, for tests."),
    Option("version", Kind.BOOL, "false", "Print the version and end."),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the webhook can be told; lengths of time in seconds."""

    listen: Address
    http_listen: Address
    kubeconfig: str
    namespaces: tuple[str, ...]
    pod_name: str
    own_namespace: str
    secret_name: str
    cert_dir: str
    drain_s: float
    defaults: Defaults
    log_level: str
    log_format: str
    print_addresses: bool


def resolved(argv: Sequence[str], environ: Mapping[str, str]) -> Resolved:
    """Return every option's value; raises OptionError that lists all problems."""
    return resolve(OPTIONS, argv, {**pod_of(environ, ENV_PREFIX), **environ}, ENV_PREFIX)


def pod_of(environ: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Let POD_NAME and POD_NAMESPACE, as manifests set them, count as variables of ours."""
    names = ("POD_NAME", "POD_NAMESPACE")
    return {f"{prefix}_{name}": environ[name] for name in names if environ.get(name)}


def settings_of(values: Resolved) -> Settings:
    """Return the settings; raises OptionError for addresses that are none."""
    own_namespace = values.text("pod-namespace") or DEFAULT_NAMESPACE
    return Settings(
        _address(values, "listen-addr"),
        _address(values, "http-listen-addr"),
        values.text("kubeconfig"),
        values.list_of("namespace"),
        values.text("pod-name"),
        own_namespace,
        values.text("secret-name"),
        values.text("cert-dir"),
        values.number("drain"),
        defaults_of(values, own_namespace),
        values.text("log-level"),
        values.text("log-format"),
        values.flag("print-addresses"),
    )


def _address(values: Resolved, name: str) -> Address:
    found = values.address(name)
    if found is None:
        raise OptionError(f"--{name} must not be empty")
    return found


def defaults_of(values: Resolved, namespace: str) -> Defaults:
    """Return what a FodcInjection gets where it says nothing."""
    return Defaults(
        values.text("agent-image") or f"{AGENT_IMAGE}:{VERSION}",
        values.text("agent-proxy-addr") or f"{GRPC_SERVICE}.{namespace}.svc:{GRPC_PORT}",
        # Both programs have this option, and must be told the same.
        is_secured=not values.flag("insecure-agents"),
    )


def help_text() -> str:
    """Return the text of `--help`."""
    examples = (
        "fodc-webhook",
        "fodc-webhook --kubeconfig=$HOME/.kube/config --cert-dir=/etc/fodc/webhook",
    )
    about = (
        "Puts the FODC agent into pods that somebody opted in; whatever fails, pods are created."
    )
    return usage(OPTIONS, PROGRAM, examples, about=about, env_prefix=ENV_PREFIX)
