# SPDX-License-Identifier: Apache-2.0
"""Every option of the agent: name, kind, default, meaning and check.

The one idea: a table and nothing else; names, defaults and error texts of the Go agent's flags are
those of upstream-agent §3.2, except where its own defaults do not work (W-02: its agent dials
:17900 while its proxy listens on :17912).
"""

from collections.abc import Mapping
from typing import Final

from fodc_protocol.options import (
    Check,
    Kind,
    Option,
    Value,
    all_of,
    between,
    endpoints,
    not_empty,
    not_negative,
    ports,
    positive,
)

ROLES: Final[Mapping[str, str]] = {
    "": "",
    "role_data": "ROLE_DATA",
    "data": "ROLE_DATA",
    "standalone": "ROLE_DATA",
    "role_liaison": "ROLE_LIAISON",
    "liaison": "ROLE_LIAISON",
    "role_meta": "ROLE_META",
    "meta": "ROLE_META",
    "role_unspecified": "ROLE_UNSPECIFIED",
}
"""What people write for a role; a standalone node reports itself as data (§8.2)."""

ATTACHMENTS: Final = ("sidecar", "remote", "standalone")
FLAVOURS: Final = ("basic", "proc", "ebpf")


# ---- checks that only the agent has ---------------------------------------------------------

_percent: Final = between(0, 100)
_port: Final = between(1, 65_535)
_some_ports: Final = all_of(not_empty, ports)


def _role(name: str, value: Value) -> str | None:
    if isinstance(value, str) and value.lower() in ROLES:
        return None
    return (
        f"{name} must be one of data, liaison, meta, standalone, ROLE_DATA, ROLE_LIAISON, "
        f"ROLE_META, got {value!r}"
    )


def _one_of(*words: str) -> Check:
    """Return a check that a text is one of these or empty, which means "find it out"."""

    def check(name: str, value: Value) -> str | None:
        if value in {"", *words}:
            return None
        return f"{name} must be one of {', '.join(words)} or empty, got {value!r}"

    return check


def _pairs(name: str, value: Value) -> str | None:
    for text in value if isinstance(value, tuple) else ():
        label, separator, _ = text.partition("=")
        if not (separator and label.strip()):
            return f"{name} must be name=value, several separated by commas, got {text!r}"
    return None


# ---- the declaration ------------------------------------------------------------------------

_COLLECTING: Final = (
    Option(
        "poll-metrics-interval",
        Kind.DURATION,
        "10s",
        "Pause between two scrapes of the node.",
        check=positive,
    ),
    Option(
        "poll-metrics-ports",
        Kind.LIST,
        "2121",
        "Ports of the node's /metrics on 127.0.0.1.",
        check=_some_ports,
    ),
    Option(
        "container-names",
        Kind.LIST,
        "",
        "Container behind each of the ports, for the label container_name.",
    ),
    Option(
        "max-metrics-memory-usage-percentage",
        Kind.INT,
        "10",
        "Share of the agent's memory limit for recorded metrics.",
        check=_percent,
    ),
    Option(
        "window-budget",
        Kind.BYTES,
        "0",
        "Memory for recorded metrics; 0 derives it from the percentage, at most 8MiB unless "
        "the percentage was given.",
        check=not_negative,
    ),
    Option("window-target", Kind.DURATION, "1h", "How much history is wanted.", check=positive),
    Option(
        "recorder-dir",
        Kind.STRING,
        "",
        "Directory of the journal that keeps history over a restart; empty keeps none.",
    ),
    Option(
        "recorder-max-bytes",
        Kind.BYTES,
        "32MiB",
        "Disk space of the journal.",
        check=positive,
    ),
)

_IDENTITY: Final = (
    Option("pod-name", Kind.STRING, "", "Name of this pod or machine; POD_NAME is read too."),
    Option("pod-namespace", Kind.STRING, "", "Namespace of this pod; POD_NAMESPACE is read too."),
    Option("pod-uid", Kind.STRING, "", "UID of this pod; POD_UID is read too."),
    Option("pod-ip", Kind.STRING, "", "Address of this pod; POD_IP is read too."),
    Option("kubernetes-node", Kind.STRING, "", "Machine of this pod; NODE_NAME is read too."),
    Option("cluster", Kind.STRING, "", "Name of the BanyanDB cluster."),
    Option(
        "node-role",
        Kind.STRING,
        "",
        "Role of the node: data, liaison or standalone; empty discovers it.",
        check=_role,
    ),
    Option(
        "node-labels",
        Kind.LIST,
        "",
        "Labels of the node, such as type=hot; the node's own ports and command add others.",
        metavar="name=value,...",
        check=_pairs,
    ),
    Option(
        "node-container",
        Kind.STRING,
        "",
        "Name of the container in which the node runs, to tell its process from others.",
    ),
    Option(
        "attachment",
        Kind.STRING,
        "",
        "How the agent is attached: beside the node in its pod, over the network with "
        "--targets-file, or on a machine. Empty is sidecar where POD_UID is known.",
        metavar="sidecar|remote|standalone",
        check=_one_of(*ATTACHMENTS),
    ),
    Option(
        "flavour",
        Kind.STRING,
        "",
        "How much of the node the pod lets the agent see; said in the log and to the proxy.",
        metavar="basic|proc|ebpf",
        check=_one_of(*FLAVOURS),
    ),
    Option(
        "targets-file",
        Kind.STRING,
        "",
        "JSON file of the nodes that one agent attaches to over the network; read anew when it "
        "changes.",
        metavar="FILE",
    ),
    Option(
        "cluster-state-ports",
        Kind.LIST,
        "",
        "gRPC ports of the node on 127.0.0.1 that are asked for role and labels.",
        check=ports,
    ),
    Option(
        "cluster-state-poll-interval",
        Kind.DURATION,
        "30s",
        "Pause between two such questions.",
        check=positive,
    ),
    Option(
        "node-pid",
        Kind.INT,
        "0",
        "Process id of the node; 0 finds it by its name.",
        check=not_negative,
    ),
    Option("node-process-name", Kind.STRING, "banyand", "How the node's process name begins."),
)

_SERVING: Final = (
    Option(
        "prometheus-listen-addr",
        Kind.ADDRESS,
        ":9090",
        "Where /metrics, /healthz, /readyz and /version are served.",
        check=not_empty,
    ),
    Option(
        "log-level",
        Kind.ENUM,
        "info",
        "Least important log line shown.",
        choices=("debug", "info", "warning", "error"),
    ),
    Option("log-format", Kind.ENUM, "text", "Shape of a log line.", choices=("text", "json")),
    Option("config", Kind.STRING, "", "YAML or JSON file with options by name.", metavar="FILE"),
    Option(
        "print-addresses",
        Kind.BOOL,
        "false",
        "Print one JSON line with the address that is listened on, for scripts that use port 0.",
    ),
)

_UPLINK: Final = (
    Option(
        "proxy-addr",
        Kind.LIST,
        "localhost:17912",
        "Address of the proxy; several are tried in turn; empty runs without a proxy.",
        metavar="host:port",
        check=endpoints,
    ),
    Option(
        "contract",
        Kind.ENUM,
        "auto",
        "What is spoken with the proxy: link is ours, fodc the one of the Go proxy, auto tries "
        "link first.",
        choices=("auto", "link", "fodc"),
    ),
    Option(
        "heartbeat-interval",
        Kind.DURATION,
        "10s",
        "Pause between two heartbeats unless the proxy announces another.",
        check=positive,
    ),
    Option(
        "reconnect-interval",
        Kind.DURATION,
        "1s",
        "Upper end of the first random pause before a new attempt; doubles up to 4 s.",
        check=positive,
    ),
    Option("proxy-tls", Kind.BOOL, "false", "Use TLS; implied by the three files below."),
    Option(
        "proxy-tls-ca",
        Kind.STRING,
        "",
        "CA of the proxy; empty trusts the system's CAs.",
        metavar="FILE",
    ),
    Option("proxy-tls-cert", Kind.STRING, "", "Client certificate (mTLS).", metavar="FILE"),
    Option("proxy-tls-key", Kind.STRING, "", "Key of the client certificate.", metavar="FILE"),
    Option(
        "proxy-token-file",
        Kind.STRING,
        "",
        "Bearer token for the proxy, such as a projected ServiceAccount token; read anew for each "
        "connection and sent with TLS only.",
        metavar="FILE",
    ),
    Option(
        "proxy-tls-server-name", Kind.STRING, "", "Name that the proxy's certificate must have."
    ),
)

_CAPTURING: Final = (
    Option(
        "pressure-profiler-pprof-port", Kind.INT, "6060", "pprof port of the node.", check=_port
    ),
    Option(
        "pprof-ports",
        Kind.LIST,
        "",
        "Ports of the node's pprof on 127.0.0.1; empty takes --pressure-profiler-pprof-port.",
        check=ports,
    ),
    Option(
        "capture-dir",
        Kind.STRING,
        "/tmp/fodc-captures",  # noqa: S108 - created 0700, files 0600
        "Directory where captures wait for the proxy.",
        check=not_empty,
    ),
    Option(
        "capture-max-bytes",
        Kind.BYTES,
        "64MiB",
        "Largest single capture.",
        check=positive,
    ),
    Option(
        "capture-quota",
        Kind.BYTES,
        "256MiB",
        "Disk space of all captures; the oldest are evicted.",
        check=positive,
    ),
    Option("capture-max-count", Kind.INT, "64", "Most captures that are held.", check=positive),
)

OPTIONS: Final = (*_COLLECTING, *_IDENTITY, *_SERVING, *_UPLINK, *_CAPTURING)
"""What this agent offers."""

_CRASHES: Final = "crash records"
_PRESSURE: Final = "profiles when memory runs short"
_LIFECYCLE: Final = "lifecycle data"

DORMANT: Final = (
    Option("diagnosis-listen-addr", Kind.STRING, "", _CRASHES),
    Option("crash-source-dir", Kind.STRING, "", _CRASHES),
    Option("panic-diagnostics-enabled", Kind.BOOL, "false", _CRASHES),
    Option("panic-diagnostics-dir", Kind.STRING, "", _CRASHES),
    Option("panic-diagnostics-max-artifacts", Kind.STRING, "", _CRASHES),
    Option("max-fodc-diagnosis-memory-usage-percentage", Kind.INT, "0", _CRASHES, check=_percent),
    Option("max-diagnosis-memory-usage-percentage", Kind.INT, "0", _CRASHES, check=_percent),
    Option("lifecycle-port", Kind.STRING, "", _LIFECYCLE),
    Option("lifecycle-report-dir", Kind.STRING, "", _LIFECYCLE),
    Option("lifecycle-cache-ttl", Kind.STRING, "", _LIFECYCLE),
    Option("schema-registry-port", Kind.STRING, "", "schemas"),
    Option("ktm-enabled", Kind.BOOL, "false", "kernel telemetry"),
    Option("ktm-interval", Kind.STRING, "", "kernel telemetry"),
    Option("pressure-profiler-enabled", Kind.BOOL, "true", _PRESSURE),
    Option("pressure-profiler-trigger-percent", Kind.INT, "75", _PRESSURE),
    Option("pressure-profiler-cooldown", Kind.STRING, "", _PRESSURE),
    Option("pressure-profiler-dir", Kind.STRING, "", _PRESSURE),
    Option("pressure-profiler-max-artifacts", Kind.STRING, "", _PRESSURE),
    Option("pressure-profiler-max-disk-bytes", Kind.STRING, "", _PRESSURE),
)
"""Flags of the Go agent that a chart written for it may give; the help text is what they need.

They are not offered: a start with one of them says that it does nothing here.
"""
