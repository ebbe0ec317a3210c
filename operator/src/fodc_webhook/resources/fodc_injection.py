# SPDX-License-Identifier: Apache-2.0
"""A FodcInjection as values: what the API server holds, read strictly.

The one idea: a policy is complete once it is read; what the resource leaves out comes from the
operator's own settings, so whoever injects asks nobody else. Shape: anchors-diagnostics §2.7 and
the custom resource definition, which decides.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from fodc_kube.texts import is_name, label_value
from fodc_protocol.addresses import AddressError, parse_endpoint
from fodc_protocol.fields import FieldError, Fields, shown
from fodc_webhook.resources.label_selector import LabelSelector, label_selector
from fodc_webhook.resources.quantities import parse_quantity

KIND: Final = "FodcInjection"
MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB
MAX_SHARED_DIRECTORIES: Final = 4
MAX_PULL_SECRETS: Final = 8
_AGENT_CONTAINER: Final = "fodc-agent"


class LogLevel(StrEnum):
    """How much the agent logs."""

    DEBUG = "Debug"
    INFO = "Info"
    WARNING = "Warning"
    ERROR = "Error"


class Mode(StrEnum):
    """How the agent runs in the pod."""

    AUTO = "Auto"
    """A native sidecar where the server knows them, else a container."""
    NATIVE_SIDECAR = "NativeSidecar"
    CONTAINER = "Container"


class Flavor(StrEnum):
    """How much of the node the agent may see, least first."""

    BASIC = "Basic"
    """Ports only; fits Pod Security `restricted`."""
    PROCESS = "Process"
    """Also the database's process: a shared process namespace and its user."""
    EBPF = "EBPF"
    """Also the kernel: UID 0 with BPF and PERFMON; needs Pod Security `privileged`."""


class OnError(StrEnum):
    """What happens to a pod that should get an agent and cannot for a reason of the policy."""

    ADMIT = "Admit"
    DENY = "Deny"


class OnAgentFailure(StrEnum):
    """What happens to a pod whose agent does not start and keeps its database from starting."""

    RELEASE = "Release"
    """It is made anew without the agent."""
    WAIT = "Wait"


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
    is_secured: bool = False
    """Whether that Service shows a certificate of the authority that the operator hands out."""


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
    image_pull_secrets: tuple[str, ...] = ()
    """Secrets of the namespace with which the kubelet pulls the image; added to the pod's."""
    requests: Mapping[str, str] = field(default_factory=lambda: {"cpu": "20m", "memory": "48Mi"})
    limits: Mapping[str, str] = field(default_factory=lambda: {"cpu": "500m", "memory": "96Mi"})
    capture_quota_bytes: int = 256 * MIB
    window_bytes: int = 32 * MIB
    """Disk space of the journal that keeps the window over a restart of the agent."""
    log_level: LogLevel = LogLevel.INFO
    tls_secret: str = ""
    """Secret of the namespace with ca.crt, tls.crt and tls.key, to be used instead."""
    is_secured: bool = False
    """Whether the agent verifies the proxy by the authority that the operator hands out."""


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
    flavor: Flavor = Flavor.BASIC
    ptrace: bool = False
    """With flavor EBPF: also SYS_PTRACE, for databases that run as another user with rights."""
    database_container: str = ""
    pprof_port: int = 0
    """0 finds it by the port's name, else 6060."""
    shared_directories: tuple[SharedDirectory, ...] = ()
    take_over: bool = False
    """Replace an agent container that came from elsewhere, such as the chart's."""
    on_error: OnError = OnError.ADMIT
    paused: bool = False
    on_agent_failure: OnAgentFailure = OnAgentFailure.RELEASE
    attach_remotely: bool = False
    """One agent of the namespace reaches pods without one over the network, without a restart."""


# ---- reading --------------------------------------------------------------------------------

_IMAGE: Final = re.compile(
    r"([A-Za-z0-9][-A-Za-z0-9.]*(:[0-9]{1,5})?/)?[a-z0-9]+([._-]+[a-z0-9]+)*"
    r"(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
    r"(:[A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?(@sha256:[0-9a-f]{64})?"
)
_DNS_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_PATH: Final = re.compile(r"(/[-A-Za-z0-9._]+)+")
_CPU: Final = (("requests", "1m", "4"), ("limits", "20m", "4"))
_MEMORY: Final = (("requests", "16Mi", "4Gi"), ("limits", "48Mi", "4Gi"))
_CLOSED_TREES: Final = ("/proc", "/sys", "/dev", "/var/run", "/run", "/var/lib/fodc", "/opt/fodc")
# Volumes here would hide programs, users, or what a database keeps below /tmp by default.
_CLOSED: Final = frozenset(
    {
        "/bin",
        "/etc",
        "/home",
        "/lib",
        "/lib64",
        "/opt",
        "/root",
        "/sbin",
        "/usr",
        "/var",
        "/var/lib",
    }
    | {"/tmp"}  # noqa: S108 - compared only
)


def policy_of(body: Mapping[str, object], defaults: Defaults) -> Policy:
    """Read a FodcInjection, complete; raises FieldError with the path of the first wrong field."""
    metadata = Fields(body).child("metadata")
    name = metadata.text("name", max_length=253)
    fields = Fields(body).child("spec")
    fields.allow(
        "podSelector",
        "cluster",
        "agent",
        "mode",
        "flavor",
        "ptrace",
        "databaseContainer",
        "pprofPort",
        "sharedDirectories",
        "takeOver",
        "onError",
        "paused",
        "onAgentFailure",
        "attachRemotely",
    )
    return Policy(
        namespace=metadata.text("namespace", max_length=253),
        name=name,
        uid=metadata.text("uid", max_length=128, default=""),
        generation=metadata.integer("generation", low=0, high=2**63 - 1, default=0),
        pod_selector=_pod_selector(body),
        cluster=_cluster(fields, name),
        agent=_agent(fields.child("agent"), defaults),
        mode=fields.choice("mode", Mode, Mode.AUTO),
        flavor=fields.choice("flavor", Flavor, Flavor.BASIC),
        ptrace=_ptrace(fields),
        database_container=_database_container(fields),
        pprof_port=_pprof_port(fields),
        shared_directories=_shared_directories(fields),
        take_over=fields.flag("takeOver"),
        on_error=fields.choice("onError", OnError, OnError.ADMIT),
        paused=fields.flag("paused"),
        on_agent_failure=fields.choice("onAgentFailure", OnAgentFailure, OnAgentFailure.RELEASE),
        attach_remotely=fields.flag("attachRemotely"),
    )


def _pod_selector(body: Mapping[str, object]) -> LabelSelector:
    spec = body.get("spec")
    data = spec.get("podSelector") if isinstance(spec, Mapping) else None
    if data is None or (isinstance(data, Mapping) and not any(data.values())):
        problem = (
            "is empty and would match every pod of the namespace; "
            "give matchLabels or matchExpressions"
        )
        raise FieldError("spec.podSelector", problem)
    return label_selector(data, "spec.podSelector")


def _cluster(fields: Fields, name: str) -> str:
    cluster = fields.text("cluster", max_length=63, default="")
    if cluster and label_value(cluster) != cluster:
        problem = (
            f"must be a value of a label: letters, digits, '-', '_' and '.', got {shown(cluster)}"
        )
        raise FieldError(fields.path("cluster"), problem)
    return cluster or name


def _ptrace(fields: Fields) -> bool:
    wanted = fields.flag("ptrace")
    flavor = fields.choice("flavor", Flavor, Flavor.BASIC)
    if wanted and flavor is not Flavor.EBPF:
        raise FieldError(fields.path("ptrace"), f"is only for flavor EBPF, not for {flavor}")
    return wanted


def _database_container(fields: Fields) -> str:
    name = fields.text("databaseContainer", max_length=63, default="")
    if not name:
        return ""
    if not _DNS_LABEL.fullmatch(name):
        problem = f"must be the name of a container: a-z, 0-9 and '-', got {shown(name)}"
        raise FieldError(fields.path("databaseContainer"), problem)
    if name == _AGENT_CONTAINER:
        problem = f"{name} is the name of the agent's own container"
        raise FieldError(fields.path("databaseContainer"), problem)
    return name


def _pprof_port(fields: Fields) -> int:
    if not fields.has("pprofPort"):
        return 0
    return fields.integer("pprofPort", low=1, high=65_535, default=0)


# ---- the agent --------------------------------------------------------------------------------


def _agent(fields: Fields, defaults: Defaults) -> AgentTemplate:
    fields.allow(
        "image",
        "imagePullPolicy",
        "imagePullSecrets",
        "proxyAddress",
        "resources",
        "captureQuota",
        "windowSize",
        "logLevel",
        "tlsSecretName",
    )
    requests, limits = _resources(fields.child("resources"))
    other_proxy = _proxy_address(fields)
    return AgentTemplate(
        image=_image(fields) or defaults.image,
        proxy_address=other_proxy or defaults.proxy_address,
        image_pull_policy=_pull_policy(fields),
        image_pull_secrets=_pull_secrets(fields),
        requests=requests,
        limits=limits,
        capture_quota_bytes=_size(fields, "captureQuota", "256Mi", "64Mi", "16Gi"),
        window_bytes=_size(fields, "windowSize", "32Mi", "4Mi", "1Gi"),
        log_level=fields.choice("logLevel", LogLevel, LogLevel.INFO),
        tls_secret=_secret(fields),
        is_secured=defaults.is_secured and other_proxy in {"", defaults.proxy_address},
    )


def _image(fields: Fields) -> str:
    image = fields.text("image", max_length=512, default="")
    if image and not _IMAGE.fullmatch(image):
        problem = (
            "must be a reference of an image, such as "
            f"registry.example.com/banyandb-fodc-agent:0.1.0, got {shown(image)}"
        )
        raise FieldError(fields.path("image"), problem)
    return image


def _proxy_address(fields: Fields) -> str:
    address = fields.text("proxyAddress", max_length=260, default="")
    try:
        return str(parse_endpoint(address)) if address else ""
    except AddressError as error:
        raise FieldError(fields.path("proxyAddress"), str(error)) from error


def _pull_policy(fields: Fields) -> PullPolicy | None:
    if not fields.has("imagePullPolicy"):
        return None
    return fields.choice("imagePullPolicy", PullPolicy, PullPolicy.IF_NOT_PRESENT)


def _pull_secrets(fields: Fields) -> tuple[str, ...]:
    found: list[str] = []
    for item in fields.items("imagePullSecrets", low=0, high=MAX_PULL_SECRETS):
        item.allow("name")
        name = item.text("name", max_length=253)
        if not is_name(name):
            problem = f"must be the name of a Secret, got {shown(name)}"
            raise FieldError(item.path("name"), problem)
        found.append(name)
    return tuple(dict.fromkeys(found))


def _secret(fields: Fields) -> str:
    name = fields.text("tlsSecretName", max_length=253, default="")
    if name and not is_name(name):
        problem = f"must be the name of a Secret, got {shown(name)}"
        raise FieldError(fields.path("tlsSecretName"), problem)
    return name


def _resources(fields: Fields) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Read requests and limits; a request that was not asked for gives way to its limit."""
    fields.allow("requests", "limits")
    default = AgentTemplate(image="", proxy_address="")
    requests, limits = dict(default.requests), dict(default.limits)
    for resource, bounds in (("cpu", _CPU), ("memory", _MEMORY)):
        for place, low, high in bounds:
            given = fields.child(place).allow("cpu", "memory")
            target = requests if place == "requests" else limits
            target[resource] = _amount(given, resource, low, high) or target[resource]
        if _more(requests[resource], limits[resource]):
            requests[resource] = _given_way(fields, resource, requests, limits)
    return requests, limits


def _given_way(
    fields: Fields, resource: str, requests: Mapping[str, str], limits: Mapping[str, str]
) -> str:
    asked = fields.child("requests")
    if asked.has(resource):
        problem = f"{requests[resource]} is more than the limit, {limits[resource]}"
        raise FieldError(asked.path(resource), problem)
    return limits[resource]


def _amount(fields: Fields, resource: str, low: str, high: str) -> str:
    if not fields.has(resource):
        return ""
    text = fields.text_or_integer(resource, max_length=20)
    if parse_quantity(text) is None or _more(low, text) or _more(text, high):
        problem = f"must be a quantity from {low} to {high}, got {shown(text)}"
        raise FieldError(fields.path(resource), problem)
    return text


def _more(one: str, other: str) -> bool:
    left, right = parse_quantity(one), parse_quantity(other)
    return left is not None and right is not None and left > right


def _size(fields: Fields, name: str, default: str, low: str, high: str) -> int:
    """Read a size in whole bytes within limits."""
    text = fields.text_or_integer(name, max_length=20, default=default)
    size = parse_quantity(text)
    if size is None or size.denominator != 1 or _more(low, text) or _more(text, high):
        problem = f"must be a whole number of bytes from {low} to {high}, got {shown(text)}"
        raise FieldError(fields.path(name), problem)
    return int(size)


# ---- shared directories -----------------------------------------------------------------------


def _shared_directories(fields: Fields) -> tuple[SharedDirectory, ...]:
    found: list[SharedDirectory] = []
    for item in fields.items("sharedDirectories", low=0, high=MAX_SHARED_DIRECTORIES):
        item.allow("name", "mountPath", "sizeLimit")
        one = SharedDirectory(
            name=_directory_name(item),
            mount_path=_mount_path(item),
            size_limit_bytes=_size(item, "sizeLimit", "256Mi", "1Mi", "16Gi"),
        )
        if any(other.name == one.name for other in found):
            raise FieldError(item.path("name"), f"{one.name} is there twice")
        if any(other.mount_path == one.mount_path for other in found):
            raise FieldError(item.path("mountPath"), f"{one.mount_path} is there twice")
        found.append(one)
    return tuple(found)


def _directory_name(item: Fields) -> str:
    name = item.text("name", max_length=40)
    if not _DNS_LABEL.fullmatch(name):
        raise FieldError(item.path("name"), f"must be a-z, 0-9 and '-', got {shown(name)}")
    return name


def _mount_path(item: Fields) -> str:
    path = item.text("mountPath", max_length=256)
    if not is_shareable(path):
        problem = (
            "must be an absolute path of letters, digits, '-', '_' and '.', without '.' or '..' "
            f"as a part, and no directory that a container needs for itself, got {shown(path)}"
        )
        raise FieldError(item.path("mountPath"), problem)
    return path


def is_shareable(path: str) -> bool:
    """Say whether a volume may be mounted at this path without hiding what programs need."""
    if not _PATH.fullmatch(path) or {".", ".."} & set(path.split("/")) or path in _CLOSED:
        return False
    return not any(f"{path}/".startswith(f"{tree}/") for tree in _CLOSED_TREES)
