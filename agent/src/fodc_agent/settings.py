# SPDX-License-Identifier: Apache-2.0
"""What the agent can be told: one frozen object whose fields declare their options.

The one idea: every flag of the Go agent is understood with its name, meaning and error text
(upstream-agent §3.2), so that a chart written for it starts this agent; ours come beside them. Its
defaults are kept except where they do not work (W-02: its agent dials :17900 while its proxy
listens on :17912). Precedence: flag, then FODC_<NAME>, then the file of --config, then the default.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Final

from fodc_agent.declaring import (
    ROLES,
    a_role,
    choice,
    declared,
    names,
    number,
    numbers,
    numbers_in,
    one_of,
    options_of,
    pairs,
    path,
    seconds,
    size,
    switch,
    text,
    values_of,
)
from fodc_agent.dormant import DORMANT
from fodc_agent.identity.roles import labels_of
from fodc_agent.node_settings import NodeSettings
from fodc_agent.occurrences.settings import SAME_AS_OURS, contradictions
from fodc_agent.settings_file import file_values
from fodc_agent.tls_files import TlsFiles
from fodc_protocol.addresses import parse_endpoint
from fodc_protocol.errors import OptionError
from fodc_protocol.ids import safe_name
from fodc_protocol.lean import dataclass
from fodc_protocol.options import (
    Address,
    Kind,
    Option,
    Resolved,
    all_of,
    between,
    describe,
    endpoints,
    not_empty,
    not_negative,
    ports,
    positive,
    resolve,
    usage,
    wants_help,
)

ENVIRONMENT_PREFIX: Final = "FODC"
PROGRAM: Final = "fodc-agent"
LOOPBACK: Final = "127.0.0.1"
_PPROF_PORT: Final = "pressure-profiler-pprof-port"


class Attachment(StrEnum):
    """Where the agent stands, seen from its node."""

    SIDECAR = "sidecar"
    REMOTE = "remote"
    STANDALONE = "standalone"


# ---- how some values are read ---------------------------------------------------------------


def _role(resolved: Resolved, name: str) -> str:
    return ROLES[resolved.text(name).lower()]


def _labels(resolved: Resolved, name: str) -> Mapping[str, str]:
    return labels_of(",".join(resolved.list_of(name)))


def _attachment(resolved: Resolved, name: str) -> Attachment:
    """Return what was told, else sidecar where a pod's UID is known."""
    if told := resolved.text(name):
        return Attachment(told)
    return Attachment.SIDECAR if resolved.text("pod-uid") else Attachment.STANDALONE


def _listen(resolved: Resolved, name: str) -> Address:
    address = resolved.address(name)
    assert address is not None
    return address


def _endpoints(resolved: Resolved, name: str) -> tuple[tuple[str, int], ...]:
    found = map(parse_endpoint, resolved.list_of(name))
    return tuple((address.host, address.port) for address in found)


def _pprof_ports(resolved: Resolved, name: str) -> tuple[int, ...]:
    return numbers_in(resolved, name) or (resolved.integer(_PPROF_PORT),)


def _capture_folder(resolved: Resolved, name: str) -> Path:
    """Return where captures wait: no two agents of a machine have the same by default."""
    if told := resolved.text(name):
        return Path(told)
    if resolved.text("recorder-dir"):
        journal = Path(resolved.text("recorder-dir"))
        return journal.parent / f"{journal.name}-captures"
    who = (resolved.text("pod-name"), *resolved.list_of("poll-metrics-ports"))
    own = safe_name("-".join(filter(None, ("fodc-captures", *who))))
    return Path("/tmp") / own  # noqa: S108 - created 0700, files 0600


# ---- everything that can be told ------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(NodeSettings):
    """Everything that the agent was told; times in seconds, sizes in bytes."""

    poll_interval_s: float = seconds(
        "poll-metrics-interval", "10s", "Pause between two scrapes of the node."
    )
    metrics_ports: tuple[int, ...] = numbers(
        "poll-metrics-ports",
        "2121",
        "Ports of the node's /metrics on 127.0.0.1.",
        check=all_of(not_empty, ports),
    )
    container_names: tuple[str, ...] = names(
        "container-names", "Container behind each of the ports, for the label container_name."
    )
    metrics_memory_percent: int = number(
        "max-metrics-memory-usage-percentage",
        "10",
        "Share of the agent's memory limit for recorded metrics.",
        check=between(0, 100),
    )
    window_budget_bytes: int = size(
        "window-budget",
        "0",
        "Memory for recorded metrics; 0 derives it from the percentage, at most 8MiB unless the "
        "percentage was given or the agent is remote.",
        check=not_negative,
    )
    window_target_s: float = seconds("window-target", "1h", "How much history is wanted.")
    recorder_dir: Path | None = path(
        "recorder-dir",
        "Directory of the journal that keeps history over a restart; empty keeps none.",
    )
    recorder_max_bytes: int = size("recorder-max-bytes", "32MiB", "Disk space of the journal.")

    pod_name: str = text(
        "pod-name", "", "Name of this pod or machine; POD_NAME is read too.", variable="POD_NAME"
    )
    pod_namespace: str = text(
        "pod-namespace",
        "",
        "Namespace of this pod; POD_NAMESPACE is read too.",
        variable="POD_NAMESPACE",
    )
    pod_uid: str = text("pod-uid", "", "UID of this pod; POD_UID is read too.", variable="POD_UID")
    pod_ip: str = text("pod-ip", "", "Address of this pod; POD_IP is read too.", variable="POD_IP")
    kubernetes_node: str = text(
        "kubernetes-node", "", "Machine of this pod; NODE_NAME is read too.", variable="NODE_NAME"
    )
    cluster: str = text("cluster", "", "Name of the BanyanDB cluster.")
    node_role: str = declared(
        Option(
            "node-role",
            Kind.STRING,
            "",
            "Role of the node: data, liaison or standalone; empty discovers it.",
            check=a_role,
        ),
        _role,
    )
    node_labels: Mapping[str, str] = declared(
        Option(
            "node-labels",
            Kind.LIST,
            "",
            "Labels of the node, such as type=hot; the node's own ports and command add others.",
            metavar="name=value,...",
            check=pairs,
        ),
        _labels,
    )
    node_container: str = text(
        "node-container",
        "",
        "Name of the container in which the node runs, to tell its process from others.",
    )
    attachment: Attachment = declared(
        Option(
            "attachment",
            Kind.STRING,
            "",
            "How the agent is attached: beside the node in its pod, over the network with "
            "--targets-file, or on a machine. Empty is sidecar where POD_UID is known.",
            metavar="sidecar|remote|standalone",
            check=one_of(*Attachment),
        ),
        _attachment,
    )
    targets_file: Path | None = path(
        "targets-file",
        "JSON file of the nodes that one agent attaches to over the network; read anew when it "
        "changes.",
    )
    cluster_state_ports: tuple[int, ...] = numbers(
        "cluster-state-ports",
        "",
        "gRPC ports of the node on 127.0.0.1 that are asked for role and labels.",
        check=ports,
    )
    cluster_state_interval_s: float = seconds(
        "cluster-state-poll-interval", "30s", "Pause between two such questions."
    )
    crash_dir: Path | None = path(
        "crash-source-dir",
        "Folder into which the node writes its panics; it may appear with the first one.",
    )
    lifecycle_port: int = number(
        "lifecycle-port",
        "0",
        "gRPC port of a liaison that tells of groups and of the schema it has; 0 asks none.",
        check=between(0, 65_535),
    )
    schema_registry_port: int = number(
        "schema-registry-port",
        "0",
        "gRPC port of a liaison that serves the registry of schemas; 0 asks none.",
        check=between(0, 65_535),
    )
    lifecycle_report_dir: Path | None = path(
        "lifecycle-report-dir", "Folder of the reports of the migration between tiers."
    )
    lifecycle_cache_ttl_s: float = seconds(
        "lifecycle-cache-ttl",
        "10m",
        "How long groups are told as they were; 0 asks the liaison each time.",
        check=not_negative,
    )
    node_pid: int = number(
        "node-pid", "0", "Process id of the node; 0 finds it by its name.", check=not_negative
    )
    node_process_name: str = text(
        "node-process-name", "banyand", "How the node's process name begins."
    )

    listen: Address = declared(
        Option(
            "prometheus-listen-addr",
            Kind.ADDRESS,
            ":9090",
            "Where /metrics, /healthz, /readyz and /version are served.",
            check=not_empty,
        ),
        _listen,
    )
    log_level: str = choice(
        "log-level", "info", "Least important log line shown.", "debug", "info", "warning", "error"
    )
    log_format: str = choice("log-format", "text", "Shape of a log line.", "text", "json")
    print_addresses: bool = switch(
        "print-addresses",
        "Print one JSON line with the address that is listened on, for scripts that use port 0.",
    )

    proxy_endpoints: tuple[tuple[str, int], ...] = declared(
        Option(
            "proxy-addr",
            Kind.LIST,
            "localhost:17912",
            "Address of the proxy; several are tried in turn; empty runs without a proxy.",
            metavar="host:port",
            check=endpoints,
        ),
        _endpoints,
    )
    contract: str = choice(
        "contract",
        "auto",
        "What is spoken with the proxy: link is ours, fodc the one of the Go proxy, auto tries "
        "link first.",
        "auto",
        "link",
        "fodc",
    )
    heartbeat_interval_s: float = seconds(
        "heartbeat-interval",
        "10s",
        "Pause between two heartbeats unless the proxy announces another.",
    )
    reconnect_interval_s: float = seconds(
        "reconnect-interval",
        "1s",
        "Upper end of the first random pause before a new attempt; doubles up to 4 s.",
    )
    proxy_tls_wanted: bool = switch("proxy-tls", "Use TLS; implied by the three files below.")
    proxy_tls_ca: str = text(
        "proxy-tls-ca", "", "CA of the proxy; empty trusts the system's CAs.", metavar="FILE"
    )
    proxy_tls_cert: str = text("proxy-tls-cert", "", "Client certificate (mTLS).", metavar="FILE")
    proxy_tls_key: str = text("proxy-tls-key", "", "Key of the client certificate.", metavar="FILE")
    proxy_token_file: Path | None = path(
        "proxy-token-file",
        "Bearer token for the proxy, such as a projected ServiceAccount token; read anew for each "
        "stream and sent with TLS only.",
    )
    proxy_tls_server_name: str = text(
        "proxy-tls-server-name", "", "Name that the proxy's certificate must have."
    )

    pprof_ports: tuple[int, ...] = declared(
        Option(
            "pprof-ports",
            Kind.LIST,
            "",
            f"Ports of the node's pprof on 127.0.0.1; empty takes --{_PPROF_PORT}.",
            check=ports,
        ),
        _pprof_ports,
    )
    capture_dir: Path = declared(
        Option(
            "capture-dir",
            Kind.STRING,
            "",
            "Directory where captures wait for the proxy, one agent's own; empty is one beside "
            "--recorder-dir, or without it below /tmp, named after pod and ports.",
        ),
        _capture_folder,
    )
    capture_max_bytes: int = size("capture-max-bytes", "64MiB", "Largest single capture.")
    capture_quota_bytes: int = size(
        "capture-quota",
        "256MiB",
        "Disk space of all captures; what nobody has fetched yet is evicted last; in a tmpfs "
        "no more than the memory limit leaves.",
    )
    capture_max_count: int = number(
        "capture-max-count", "64", "Most captures that are held.", check=positive
    )

    lines: tuple[str, ...]
    """Every option as "name=value (origin)" for the start log, secrets masked."""
    dormant: tuple[str, ...]
    """What was given although nothing here does it, as "option=name needs='what'"."""
    metrics_memory_percent_given: bool
    node_host: str = LOOPBACK
    """Where the node's ports are: explicit IPv4, which is what a node binds (T-CL-16)."""

    @property
    def is_remote(self) -> bool:
        """Whether nodes are reached over the network only."""
        return self.attachment is Attachment.REMOTE

    @property
    def proxy_tls(self) -> TlsFiles | None:
        """How TLS is spoken with the proxy, None where it is not."""
        if not (self.proxy_tls_wanted or self.proxy_tls_ca or self.proxy_tls_cert):
            return None
        return TlsFiles(
            self.proxy_tls_ca, self.proxy_tls_cert, self.proxy_tls_key, self.proxy_tls_server_name
        )


OPTIONS: Final = (
    *options_of(fields(Settings)),
    *SAME_AS_OURS,
    Option(_PPROF_PORT, Kind.INT, "6060", "pprof port of the node.", check=between(1, 65_535)),
    Option("config", Kind.STRING, "", "YAML or JSON file with options by name.", metavar="FILE"),
)
"""What this agent offers."""


def load(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Return the settings; raise OptionError with one line per problem, each naming its flag."""
    known = (*OPTIONS, *DORMANT)
    resolved = resolve(
        known, argv, environ, ENVIRONMENT_PREFIX, file_values(argv, environ, ENVIRONMENT_PREFIX)
    )
    problems = list(_contradictions(resolved))
    if problems:
        raise OptionError("\n".join(problems))
    asleep = {option.name: option.help for option in DORMANT}
    given = {name for name, origin in resolved.origins.items() if origin != "default"}
    return Settings(
        # Each field declares how it is read, so the kinds fit.
        **values_of(fields(Settings), resolved),  # type: ignore[arg-type]
        lines=tuple(line for line in describe(resolved) if line.partition("=")[0] not in asleep),
        dormant=tuple(f"option={name} needs={asleep[name]!r}" for name in asleep if name in given),
        metrics_memory_percent_given="max-metrics-memory-usage-percentage" in given,
    )


def _contradictions(resolved: Resolved) -> list[str]:
    """Return what is wrong between options (T-CMD-05, T-CMD-08)."""
    problems: list[str] = []
    names = resolved.list_of("container-names")
    ports = resolved.list_of("poll-metrics-ports")
    if names and len(names) != len(ports):
        problems.append(
            f"container-names count ({len(names)}) must match "
            f"poll-metrics-ports count ({len(ports)})"
        )
    problems += contradictions(resolved)
    problems += [
        f"{peer}-tls-cert and {peer}-tls-key must be given together"
        for peer in ("proxy", "node")
        if bool(resolved.text(f"{peer}-tls-cert")) != bool(resolved.text(f"{peer}-tls-key"))
    ]
    is_remote, tls = resolved.text("attachment") == Attachment.REMOTE, ("node-https", "node-tls")
    if is_remote and resolved.text("node-credentials-file") and not any(map(resolved.flag, tls)):
        problems.append("node-credentials-file with attachment=remote needs node-tls or node-https")
    if bool(resolved.text("targets-file")) != (resolved.text("attachment") == Attachment.REMOTE):
        problems.append("targets-file and attachment=remote must be given together")
    if resolved.integer("capture-quota") < resolved.integer("capture-max-bytes"):
        problems.append("capture-quota must not be less than capture-max-bytes")
    return problems


def help_text() -> str:
    """Return the text of --help."""
    example = (
        f"{PROGRAM} --poll-metrics-ports=2121 --cluster-state-ports=17912 "
        "--pod-name=$POD_NAME --proxy-addr=fodc-proxy:17912"
    )
    about = "Collects first-occurrence data beside one BanyanDB node."
    return usage(OPTIONS, PROGRAM, (example,), about=about, env_prefix=ENVIRONMENT_PREFIX)


__all__ = ["OPTIONS", "Settings", "help_text", "load", "wants_help"]
