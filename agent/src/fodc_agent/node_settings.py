# SPDX-License-Identifier: Apache-2.0
"""What the agent is told about its node: how its ports are reached, and how much of it is seen."""

from pathlib import Path

from fodc_agent.declaring import declared, each_of, one_of, path, seconds, switch, text
from fodc_agent.kernel_groups import KERNEL_DEFAULTS, KERNEL_GROUPS
from fodc_agent.occurrences.settings import PressureSettings
from fodc_agent.tls_files import TlsFiles
from fodc_protocol.lean import dataclass
from fodc_protocol.options import Kind, Option, Resolved


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePorts(PressureSettings):
    """How the node's own ports are reached."""

    node_tls_wanted: bool = switch(
        "node-tls", "Use TLS with the node's gRPC ports; implied by the three files below."
    )
    node_https: bool = switch(
        "node-https", "Use TLS with the node's metrics and pprof ports too, by the same files."
    )
    node_tls_ca: str = text(
        "node-tls-ca", "", "CA of the node; empty trusts the system's CAs.", metavar="FILE"
    )
    node_tls_cert: str = text("node-tls-cert", "", "Client certificate (mTLS).", metavar="FILE")
    node_tls_key: str = text("node-tls-key", "", "Key of the client certificate.", metavar="FILE")
    node_tls_server_name: str = text(
        "node-tls-server-name", "", "Name that the node's certificate must have."
    )
    node_credentials_file: Path | None = path(
        "node-credentials-file",
        "USER:PASSWORD for the node's ports; read anew for each question and sent over loopback or "
        "TLS only.",
    )

    @property
    def node_tls(self) -> TlsFiles | None:
        """How TLS is spoken with the node, None where it is not."""
        if not (self.node_tls_wanted or self.node_https or self.node_tls_ca or self.node_tls_cert):
            return None
        return TlsFiles(
            self.node_tls_ca, self.node_tls_cert, self.node_tls_key, self.node_tls_server_name
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings(NodePorts):
    """How the node is reached, how much of it is seen, and what is counted in the kernel."""

    flavor: str = text(
        "flavor",
        "",
        "How much of the node the pod lets the agent see; said in the log and to the proxy.",
        metavar="basic|process|ebpf",
        check=one_of("basic", "process", "ebpf"),
    )
    ktm_enabled: bool = switch(
        "ktm-enabled",
        "Count in the kernel what it does for the node (BPF); flavor ebpf implies it.",
    )
    ktm_interval_s: float = seconds(
        "ktm-interval", "10s", "Pause between two readings of what the kernel counted."
    )
    ktm_groups: tuple[str, ...] = declared(
        Option(
            "ktm-groups",
            Kind.LIST,
            ",".join(KERNEL_DEFAULTS),
            "What the kernel counts: " + ", ".join(KERNEL_GROUPS) + ".",
            check=each_of(*KERNEL_GROUPS),
        ),
        Resolved.list_of,
    )

    ktm_backend: str = text(
        "ktm-backend",
        "core",
        "What counts: core, programs that are built ahead of time; bcc, which compiles on this "
        "machine and needs the kernel's headers and Debian's python3-bpfcc.",
        metavar="core|bcc",
        check=one_of("core", "bcc"),
    )
    ktm_slow_read_s: float = seconds(
        "ktm-slow-read",
        "8ms",
        "From how long on a read of a file is slow: where one of a hundred is, captures are taken.",
    )

    @property
    def counts_in_kernel(self) -> bool:
        """Whether kernel telemetry was asked for."""
        return (self.ktm_enabled or self.flavor == "ebpf") and bool(self.ktm_groups)
