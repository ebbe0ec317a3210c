# SPDX-License-Identifier: Apache-2.0
"""A FodcInjection as values: what the API server holds, read strictly.

The one idea: a policy is complete once it is read; what the resource leaves out comes from the
operator's own settings, so whoever injects asks nobody else. Shape: anchors-diagnostics §2.7 and
the custom resource definition, which decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from fodc_operator.resources.label_selector import LabelSelector

PLURAL: Final = "fodcinjections"
KIND: Final = "FodcInjection"
MIB: Final = 1024 * 1024


class Mode(StrEnum):
    """How the agent runs in the pod."""

    AUTO = "Auto"
    """A native sidecar where the server knows them, else a container."""
    NATIVE_SIDECAR = "NativeSidecar"
    CONTAINER = "Container"


class Flavour(StrEnum):
    """How much of the node the agent may see, least first."""

    BASIC = "basic"
    """Ports only; fits Pod Security `restricted`."""
    PROC = "proc"
    """Also the database's process: a shared process namespace and its user."""
    EBPF = "ebpf"
    """Also the kernel: UID 0 with BPF and PERFMON; needs Pod Security `privileged`."""


class OnError(StrEnum):
    """What happens to a pod that should get an agent and cannot for a reason of the policy."""

    ADMIT = "Admit"
    DENY = "Deny"


class MissedAction(StrEnum):
    """What is done about pods that run without the agent that they should have."""

    REPORT = "Report"
    EVICT = "Evict"


class PullPolicy(StrEnum):
    """As Kubernetes knows it."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the operator's settings say where a policy says nothing."""

    image: str
    proxy_address: str
    """host:port of the proxy's gRPC Service."""


@dataclass(frozen=True, slots=True)
class SharedDirectory:
    """A directory that the database container and the agent share, as an emptyDir with a limit."""

    name: str
    mount_path: str
    size_limit_bytes: int = 256 * MIB


@dataclass(frozen=True, slots=True)
class AgentTemplate:
    """The container of the agent; quantities as Kubernetes writes them."""

    image: str
    proxy_address: str
    image_pull_policy: PullPolicy | None = None
    requests: Mapping[str, str] = field(default_factory=lambda: {"cpu": "20m", "memory": "48Mi"})
    limits: Mapping[str, str] = field(default_factory=lambda: {"cpu": "500m", "memory": "96Mi"})
    capture_quota_bytes: int = 256 * MIB
    window_bytes: int = 32 * MIB
    """Disk space of the journal that keeps the window over a restart of the agent."""
    log_level: str = "info"
    tls_secret: str = ""
    """Secret of the namespace with ca.crt, and tls.crt and tls.key for mTLS; empty for no TLS."""


@dataclass(frozen=True, slots=True)
class Missed:
    """What is done about pods that run without an agent."""

    action: MissedAction = MissedAction.REPORT
    per_minute: int = 1
    attach_remotely: bool = False
    """One agent of the namespace reaches them over the network, without a restart."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The spec of a FodcInjection, complete."""

    namespace: str
    name: str
    uid: str
    generation: int
    pod_selector: LabelSelector
    cluster: str
    agent: AgentTemplate
    mode: Mode = Mode.AUTO
    flavour: Flavour = Flavour.BASIC
    ptrace: bool = False
    """With flavour ebpf: also SYS_PTRACE, for databases that run as another user with rights."""
    database_container: str = ""
    pprof_port: int = 0
    """0 finds it by the port's name, else 6060."""
    shared_directories: tuple[SharedDirectory, ...] = ()
    take_over: bool = False
    """Replace an agent container that came from elsewhere, such as the chart's."""
    on_error: OnError = OnError.ADMIT
    paused: bool = False
    missed: Missed = field(default_factory=Missed)
