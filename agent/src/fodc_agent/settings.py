# SPDX-License-Identifier: Apache-2.0
"""What the agent can be told: one declaration per option, one frozen object for the program.

The one idea: every flag of the Go agent is understood with its name, meaning and error text
(upstream-agent §3.2), so that a chart written for it starts this agent; ours come beside them.
Precedence: flag, then FODC_<NAME>, then the file of --config, then the default.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from fodc_agent.identity.roles import labels_of
from fodc_agent.option_table import DORMANT, OPTIONS, ROLES
from fodc_protocol.addresses import parse_endpoint
from fodc_protocol.errors import OptionError
from fodc_protocol.options import (
    Address,
    Resolved,
    describe,
    resolve,
    usage,
    wants_help,
)

ENVIRONMENT_PREFIX: Final = "FODC"
PROGRAM: Final = "fodc-agent"
LOOPBACK: Final = "127.0.0.1"
_FALLBACKS: Final[Mapping[str, str]] = {
    "pod-name": "POD_NAME",
    "pod-namespace": "POD_NAMESPACE",
    "pod-uid": "POD_UID",
    "kubernetes-node": "NODE_NAME",
    "pod-ip": "POD_IP",
}


class Attachment(StrEnum):
    """Where the agent stands, seen from its node."""

    SIDECAR = "sidecar"
    REMOTE = "remote"
    STANDALONE = "standalone"


@dataclass(frozen=True, slots=True)
class ProxyTls:
    """How TLS to the proxy is set up; empty texts stand for "not given"."""

    ca_file: str
    cert_file: str
    key_file: str
    server_name: str


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the agent was told; times in seconds, sizes in bytes."""

    poll_interval_s: float
    metrics_ports: tuple[int, ...]
    container_names: tuple[str, ...]
    metrics_memory_percent: int
    metrics_memory_percent_given: bool
    window_budget_bytes: int
    window_target_s: float
    recorder_dir: Path | None
    recorder_max_bytes: int
    pod_name: str
    pod_namespace: str
    pod_uid: str
    pod_ip: str
    kubernetes_node: str
    cluster: str
    node_role: str
    node_labels: Mapping[str, str]
    node_container: str
    attachment: Attachment
    flavour: str
    """basic, proc, ebpf, or empty where nobody said."""
    targets_file: Path | None
    """The nodes to attach to over the network; given when and only when the agent is remote."""
    cluster_state_ports: tuple[int, ...]
    cluster_state_interval_s: float
    node_pid: int
    node_process_name: str
    listen: Address
    log_level: str
    log_format: str
    print_addresses: bool
    proxy_endpoints: tuple[tuple[str, int], ...]
    contract: str
    heartbeat_interval_s: float
    reconnect_interval_s: float
    proxy_tls: ProxyTls | None
    proxy_token_file: Path | None
    pprof_ports: tuple[int, ...]
    capture_dir: Path
    capture_max_bytes: int
    capture_quota_bytes: int
    capture_max_count: int
    lines: tuple[str, ...]
    """Every option as "name=value (origin)" for the start log, secrets masked."""
    dormant: tuple[str, ...]
    """What was given although nothing here does it, as "option=name needs='what'"."""
    node_host: str = LOOPBACK
    """Where the node's ports are: explicit IPv4, which is what a node binds (T-CL-16)."""

    @property
    def is_remote(self) -> bool:
        """Whether nodes are reached over the network only."""
        return self.attachment is Attachment.REMOTE


def load(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Return the settings; raise OptionError with one line per problem, each naming its flag."""
    known = (*OPTIONS, *DORMANT)
    resolved = resolve(known, argv, environ, ENVIRONMENT_PREFIX, _file_values(argv, environ))
    problems = list(_contradictions(resolved))
    if problems:
        raise OptionError("\n".join(problems))
    return _settings(resolved, environ)


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
    percent = resolved.integer("pressure-profiler-trigger-percent")
    if resolved.flag("pressure-profiler-enabled") and not 1 <= percent <= 100:
        problems.append(
            f"pressure-profiler-trigger-percent must be between 1 and 100, got {percent}"
        )
    if bool(resolved.text("proxy-tls-cert")) != bool(resolved.text("proxy-tls-key")):
        problems.append("proxy-tls-cert and proxy-tls-key must be given together")
    if bool(resolved.text("targets-file")) != (resolved.text("attachment") == Attachment.REMOTE):
        problems.append("targets-file and attachment=remote must be given together")
    if resolved.integer("capture-quota") < resolved.integer("capture-max-bytes"):
        problems.append("capture-quota must not be less than capture-max-bytes")
    return problems


def _settings(resolved: Resolved, environ: Mapping[str, str]) -> Settings:
    listen = resolved.address("prometheus-listen-addr")
    assert listen is not None
    asleep = {option.name: option.help for option in DORMANT}
    given = {name for name, origin in resolved.origins.items() if origin != "default"}
    return Settings(
        poll_interval_s=resolved.number("poll-metrics-interval"),
        metrics_ports=_numbers(resolved.list_of("poll-metrics-ports")),
        container_names=resolved.list_of("container-names"),
        metrics_memory_percent=resolved.integer("max-metrics-memory-usage-percentage"),
        metrics_memory_percent_given="max-metrics-memory-usage-percentage" in given,
        window_budget_bytes=resolved.integer("window-budget"),
        window_target_s=resolved.number("window-target"),
        recorder_dir=_path(resolved, "recorder-dir"),
        recorder_max_bytes=resolved.integer("recorder-max-bytes"),
        pod_name=_with_fallback(resolved, environ, "pod-name"),
        pod_namespace=_with_fallback(resolved, environ, "pod-namespace"),
        pod_uid=_with_fallback(resolved, environ, "pod-uid"),
        pod_ip=_with_fallback(resolved, environ, "pod-ip"),
        kubernetes_node=_with_fallback(resolved, environ, "kubernetes-node"),
        cluster=resolved.text("cluster"),
        node_role=ROLES[resolved.text("node-role").lower()],
        node_labels=labels_of(",".join(resolved.list_of("node-labels"))),
        node_container=resolved.text("node-container"),
        attachment=_attachment(resolved, environ),
        flavour=resolved.text("flavour"),
        targets_file=_path(resolved, "targets-file"),
        cluster_state_ports=_numbers(resolved.list_of("cluster-state-ports")),
        cluster_state_interval_s=resolved.number("cluster-state-poll-interval"),
        node_pid=resolved.integer("node-pid"),
        node_process_name=resolved.text("node-process-name"),
        listen=listen,
        log_level=resolved.text("log-level"),
        log_format=resolved.text("log-format"),
        print_addresses=resolved.flag("print-addresses"),
        proxy_endpoints=tuple(map(_endpoint, resolved.list_of("proxy-addr"))),
        contract=resolved.text("contract"),
        heartbeat_interval_s=resolved.number("heartbeat-interval"),
        reconnect_interval_s=resolved.number("reconnect-interval"),
        proxy_tls=_proxy_tls(resolved),
        proxy_token_file=_path(resolved, "proxy-token-file"),
        pprof_ports=_numbers(resolved.list_of("pprof-ports"))
        or (resolved.integer("pressure-profiler-pprof-port"),),
        capture_dir=Path(resolved.text("capture-dir")),
        capture_max_bytes=resolved.integer("capture-max-bytes"),
        capture_quota_bytes=resolved.integer("capture-quota"),
        capture_max_count=resolved.integer("capture-max-count"),
        lines=tuple(line for line in describe(resolved) if line.partition("=")[0] not in asleep),
        dormant=tuple(f"option={name} needs={asleep[name]!r}" for name in asleep if name in given),
    )


def _numbers(texts: Sequence[str]) -> tuple[int, ...]:
    return tuple(map(int, texts))


def _endpoint(text: str) -> tuple[str, int]:
    address = parse_endpoint(text)
    return address.host, address.port


def _with_fallback(resolved: Resolved, environ: Mapping[str, str], name: str) -> str:
    return resolved.text(name) or environ.get(_FALLBACKS[name], "")


def _path(resolved: Resolved, name: str) -> Path | None:
    text = resolved.text(name)
    return Path(text) if text else None


def _attachment(resolved: Resolved, environ: Mapping[str, str]) -> Attachment:
    """Return what was told, else sidecar where a pod's UID is known."""
    if told := resolved.text("attachment"):
        return Attachment(told)
    in_pod = _with_fallback(resolved, environ, "pod-uid")
    return Attachment.SIDECAR if in_pod else Attachment.STANDALONE


def _proxy_tls(resolved: Resolved) -> ProxyTls | None:
    tls = ProxyTls(
        resolved.text("proxy-tls-ca"),
        resolved.text("proxy-tls-cert"),
        resolved.text("proxy-tls-key"),
        resolved.text("proxy-tls-server-name"),
    )
    wanted = resolved.flag("proxy-tls") or tls.ca_file or tls.cert_file
    return tls if wanted else None


# ---- the file of --config -------------------------------------------------------------------


def _file_values(argv: Sequence[str], environ: Mapping[str, str]) -> Mapping[str, object] | None:
    path = _config_path(argv) or environ.get(f"{ENVIRONMENT_PREFIX}_CONFIG", "")
    if not path:
        return None
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        values = _parsed(path, text)
    except (OSError, ValueError) as error:
        raise OptionError(f"config {path!r} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise OptionError(f"config {path!r} must hold option names with their values")
    return {str(name): value for name, value in values.items()}


def _config_path(argv: Sequence[str]) -> str:
    for place, argument in enumerate(argv):
        if argument == "--config" and place + 1 < len(argv):
            return argv[place + 1]
        if argument.startswith("--config="):
            return argument.partition("=")[2]
    return ""


def _parsed(path: str, text: str) -> object:
    if path.endswith(".json"):
        import json  # noqa: PLC0415 - only with --config

        return json.loads(text) if text.strip() else {}
    import yaml  # noqa: PLC0415 - 1.3 MiB that most agents never need

    try:
        return yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def help_text() -> str:
    """Return the text of --help."""
    example = (
        f"{PROGRAM} --poll-metrics-ports=2121 --cluster-state-ports=17912 "
        "--pod-name=$POD_NAME --proxy-addr=fodc-proxy:17912"
    )
    about = "Collects first-occurrence data beside one BanyanDB node."
    return usage(OPTIONS, PROGRAM, (example,), about=about, env_prefix=ENVIRONMENT_PREFIX)


__all__ = ["OPTIONS", "ProxyTls", "Settings", "help_text", "load", "wants_help"]
