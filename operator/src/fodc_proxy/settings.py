# SPDX-License-Identifier: Apache-2.0
"""Settings of the proxy: the flags of the existing one (upstream-proxy §2.1) and our own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from fodc_protocol.errors import BadRequestError, OptionError
from fodc_protocol.option_values import Value
from fodc_protocol.options import (
    Address,
    Kind,
    Option,
    Resolved,
    not_negative,
    positive,
    resolve,
    usage,
)
from fodc_proxy.access.agents.token_lines import OPTION as AGENT_TOKENS
from fodc_proxy.access.settings import OPTIONS as ACCESS_OPTIONS
from fodc_proxy.access.settings import AccessSettings, access_of
from fodc_proxy.captures.table import Limits as CaptureLimits
from fodc_proxy.evidence.incidents.retention import IncidentRetention
from fodc_proxy.fleet.limits import Limits
from fodc_proxy.http import hosts
from fodc_proxy.storage.retention import Retention
from fodc_proxy.storage.urls import wrong_url

ENV_PREFIX: Final = "FODC_PROXY"
PROGRAM: Final = "fodc-proxy"


def _host_names(_name: str, value: Value) -> str | None:
    wrong = [one for one in value if not hosts.is_pattern(one)] if isinstance(value, tuple) else []
    return f"has {wrong[0]!r}: must be a host name, *.name or *" if wrong else None


OPTIONS: Final = (
    Option(
        "grpc-listen-addr", Kind.ADDRESS, ":17912", "Where agents connect; port 0 takes a free one."
    ),
    Option("http-listen-addr", Kind.ADDRESS, ":17913", "Where people and Prometheus ask."),
    Option(
        "agent-heartbeat-timeout",
        Kind.DURATION,
        "30s",
        "An agent silent for longer is Offline.",
        check=positive,
    ),
    Option(
        "agent-cleanup-timeout",
        Kind.DURATION,
        "5m",
        "An agent silent for longer is forgotten; must be greater than the heartbeat timeout.",
        check=positive,
    ),
    Option(
        "grpc-tls-cert-file",
        Kind.STRING,
        "",
        "Certificate that agents are shown, PEM with its chain; read anew when it changes.",
        "FILE",
    ),
    Option("grpc-tls-key-file", Kind.STRING, "", "Key of that certificate, PEM.", "FILE"),
    Option(
        "grpc-client-ca-file",
        Kind.STRING,
        "",
        "CAs whose certificates agents may show instead of a token; a certificate speaks for the "
        "agents of its names (pod, or pod.namespace).",
        "FILE",
    ),
    Option(
        AGENT_TOKENS,
        Kind.STRING,
        "",
        "Tokens of agents outside of Kubernetes, a line `NAME AGENT[,AGENT…] TOKEN` each; read "
        "anew when it changes.",
        "FILE",
    ),
    Option(
        "legacy-agents",
        Kind.ENUM,
        "auto",
        "Whether existing Go agents, which have no tokens, are let in; auto allows them on a "
        "loopback address only.",
        choices=("auto", "allow", "deny"),
    ),
    Option(
        "insecure-agents",
        Kind.BOOL,
        "false",
        "Let every agent in without TLS and without a token; it is shown wherever agents are.",
    ),
    Option("max-agents", Kind.INT, "1000", "How many living agents are let in.", check=positive),
    Option(
        "max-agents-per-namespace",
        Kind.INT,
        "0",
        "How many living agents of one namespace are let in; 0 sets no limit but --max-agents.",
        check=not_negative,
    ),
    Option(
        "registrations-per-s",
        Kind.FLOAT,
        "500",
        "How many agents may register per second in the long run; --max-agents may at once.",
        check=positive,
    ),
    Option(
        "grpc-max-msg-size",
        Kind.BYTES,
        "33554432",
        "Greatest gRPC message in bytes, either way.",
        check=positive,
    ),
    Option(
        "http-read-timeout",
        Kind.DURATION,
        "10s",
        "How long an idle HTTP connection is kept.",
        check=positive,
    ),
    Option(
        "http-write-timeout",
        Kind.DURATION,
        "10s",
        "How long a reader may take nothing of an answer before its connection is closed.",
        check=positive,
    ),
    Option(
        hosts.OPTION,
        Kind.LIST,
        ",".join(hosts.CLUSTER_NAMES),
        "Names that a Host header may have beside addresses, localhost and names of one label; "
        "*.name means what ends in it, * everything.",
        "NAMES",
        check=_host_names,
    ),
    *ACCESS_OPTIONS,
    Option(
        "heartbeat-interval",
        Kind.DURATION,
        "10s",
        "How often agents are told to send heartbeats.",
        check=not_negative,
    ),
    Option(
        "collection-timeout",
        Kind.DURATION,
        "8s",
        "How long an agent is waited for; who answers later is reported as missing.",
        check=positive,
    ),
    Option(
        "window-budget",
        Kind.BYTES,
        "128MiB",
        "How much the windows of one question may take; two are read at a time.",
        check=positive,
    ),
    Option(
        "schema-check-interval",
        Kind.DURATION,
        "5m",
        "How often the schema of all nodes is compared with the registry; 0 means only when "
        "/cluster/lifecycle is asked.",
        check=not_negative,
    ),
    Option(
        "data-dir",
        Kind.STRING,
        "",
        "Where artifacts and requests are kept; empty means a temporary folder.",
        "DIR",
    ),
    Option(
        "artifact-store",
        Kind.STRING,
        "",
        "Where artifacts and requests are kept instead: s3://bucket/path, gs://…, az://… with "
        "credentials from the environment, or file:///folder.",
        "URL",
        check=wrong_url,
        secret=True,  # somebody may put a password into it, which is refused and not shown
    ),
    Option(
        "artifact-retention",
        Kind.DURATION,
        "168h",
        "How long an artifact is kept.",
        check=positive,
    ),
    Option(
        "artifact-retention-count",
        Kind.INT,
        "10000",
        "How many artifacts are kept; the oldest go first.",
        check=positive,
    ),
    Option(
        "artifact-retention-bytes",
        Kind.BYTES,
        "0",
        "How many bytes of artifacts are kept; 0 means 80 % of their file system and at most "
        "8GiB, which fits the volume of the manifests.",
        check=not_negative,
    ),
    Option(
        "incident-retention",
        Kind.DURATION,
        "720h",
        "How long an incident is kept, and the artifacts with it that it holds.",
        check=positive,
    ),
    Option(
        "incident-retention-count",
        Kind.INT,
        "1000",
        "How many incidents are kept; the oldest go first.",
        check=positive,
    ),
    Option(
        "incident-retention-bytes",
        Kind.BYTES,
        "1GiB",
        "How many bytes of artifacts all incidents hold at most, and no more than half of what "
        "is kept of artifacts.",
        check=positive,
    ),
    Option(
        "captures-per-caller-hour",
        Kind.INT,
        "1000",
        "How many captures one caller may ask for within an hour; 0 is no limit.",
        check=not_negative,
    ),
    Option(
        "captures-per-node-hour",
        Kind.INT,
        "240",
        "How many captures one node may be asked for within an hour; 0 is no limit.",
        check=not_negative,
    ),
    Option(
        "max-open-requests",
        Kind.INT,
        "128",
        "How many requests may wait and run; one caller has half of them at most.",
        check=positive,
    ),
    Option(
        "log-level",
        Kind.ENUM,
        "info",
        "Least severity that is logged.",
        choices=("debug", "info", "warning", "error"),
    ),
    Option(
        "log-format",
        Kind.ENUM,
        "text",
        "text writes key=value pairs.",
        choices=("text", "json"),
    ),
    Option("config", Kind.STRING, "", "YAML file with settings by their names.", "FILE"),
    Option(
        "print-addresses",
        Kind.BOOL,
        "false",
        "Print one JSON line with the addresses once the proxy listens.",
    ),
    Option("version", Kind.BOOL, "false", "Print the version and exit."),
)


@dataclass(frozen=True, slots=True)
class AgentAccess:
    """What agents have to show."""

    tokens_file: str = ""
    legacy: str = "auto"
    is_insecure: bool = False
    certificate_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""
    registrations_per_s: float = 500.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the proxy can be told; lengths of time in seconds."""

    grpc_listen: Address = field(default_factory=lambda: Address("", 17912))
    http_listen: Address = field(default_factory=lambda: Address("", 17913))
    limits: Limits = field(default_factory=Limits)
    max_message_bytes: int = 32 * 1024 * 1024
    http_read_timeout_s: float = 10.0
    http_write_timeout_s: float = 10.0
    http_allowed_hosts: tuple[str, ...] = hosts.CLUSTER_NAMES
    access: AccessSettings = field(default_factory=AccessSettings)
    heartbeat_interval_s: float = 10.0
    collection_timeout_s: float = 8.0
    window_budget_bytes: int = 128 * 1024 * 1024
    schema_check_interval_s: float = 300.0
    data_dir: str = ""
    artifact_store: str = ""
    retention: Retention = field(default_factory=Retention)
    captures: CaptureLimits = field(default_factory=CaptureLimits)
    log_level: str = "info"
    log_format: str = "text"
    print_addresses: bool = False
    agents: AgentAccess = field(default_factory=AgentAccess)
    incidents: IncidentRetention = field(default_factory=IncidentRetention)

    @property
    def uses_tls(self) -> bool:
        """Whether a proxy by itself needs OpenSSL for a connection."""
        access = self.access
        files = self.agents.certificate_file or access.certificate_file
        return bool(files) or access.issuer is not None


def resolved(
    argv: Sequence[str], environ: Mapping[str, str], file_values: Mapping[str, object] | None = None
) -> Resolved:
    """Return every option's value; raises OptionError that lists all problems."""
    return resolve(OPTIONS, argv, environ, ENV_PREFIX, file_values)


def settings_of(values: Resolved) -> Settings:
    """Return the settings; raises OptionError when values do not fit each other."""
    try:
        limits = Limits(
            round(values.number("agent-heartbeat-timeout") * 1000),
            round(values.number("agent-cleanup-timeout") * 1000),
            values.integer("max-agents"),
            values.integer("max-agents-per-namespace"),
        )
    except BadRequestError as error:
        raise OptionError(error.message) from error
    _check_tls(values)
    return Settings(
        values.address("grpc-listen-addr") or Address("", 0),
        values.address("http-listen-addr") or Address("", 0),
        limits,
        values.integer("grpc-max-msg-size"),
        values.number("http-read-timeout"),
        values.number("http-write-timeout"),
        values.list_of("http-allowed-hosts"),
        access_of(values),
        values.number("heartbeat-interval"),
        values.number("collection-timeout"),
        values.integer("window-budget"),
        values.number("schema-check-interval"),
        values.text("data-dir"),
        values.text("artifact-store"),
        Retention(
            round(values.number("artifact-retention") * 1000),
            values.integer("artifact-retention-bytes"),
            values.integer("artifact-retention-count"),
        ),
        CaptureLimits(
            max_open_requests=values.integer("max-open-requests"),
            max_open_per_caller=max(1, values.integer("max-open-requests") // 2),
            max_hourly_per_caller=values.integer("captures-per-caller-hour"),
            max_hourly_per_node=values.integer("captures-per-node-hour"),
        ),
        values.text("log-level"),
        values.text("log-format"),
        values.flag("print-addresses"),
        AgentAccess(
            values.text(AGENT_TOKENS),
            values.text("legacy-agents"),
            values.flag("insecure-agents"),
            values.text("grpc-tls-cert-file"),
            values.text("grpc-tls-key-file"),
            values.text("grpc-client-ca-file"),
            values.number("registrations-per-s"),
        ),
        IncidentRetention(
            round(values.number("incident-retention") * 1000),
            values.integer("incident-retention-count"),
            values.integer("incident-retention-bytes"),
        ),
    )


def _check_tls(values: Resolved) -> None:
    given = [bool(values.text(f"grpc-tls-{part}-file")) for part in ("cert", "key")]
    if given[0] != given[1]:
        raise OptionError("grpc-tls-cert-file and grpc-tls-key-file must be given together")
    if values.text("grpc-client-ca-file") and not given[0]:
        raise OptionError("grpc-client-ca-file needs grpc-tls-cert-file and grpc-tls-key-file")


def help_text() -> str:
    """Return the text of `--help`."""
    examples = (
        "fodc-proxy",
        "fodc-proxy --grpc-listen-addr=:0 --http-listen-addr=127.0.0.1:0 --print-addresses",
    )
    about = "Collects from the FODC agents of a BanyanDB cluster and shows it in one place."
    return usage(OPTIONS, PROGRAM, examples, about=about, env_prefix=ENV_PREFIX)
