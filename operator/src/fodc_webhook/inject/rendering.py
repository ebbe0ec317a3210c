# SPDX-License-Identifier: Apache-2.0
"""The agent's container and its volumes, as they go into a pod.

The one idea: everything the container needs comes with it, so that it can neither fail to start
for a thing of the pod nor take anything of it: it writes below one directory, has no token of the
API server, and a Secret that is missing does not hold up the pod.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fodc_webhook.inject.marks import AGENT_CONTAINER, TOKEN_AUDIENCE
from fodc_webhook.inject.shapes import Shape
from fodc_webhook.inject.sharing import AGENT_VARIABLES
from fodc_webhook.inject.sizing import Resources
from fodc_webhook.resources.fodc_injection import MIB, AgentTemplate, Flavor, Policy
from fodc_webhook.resources.quantities import format_bytes

HOME: Final = "/var/lib/fodc"
TLS_DIRECTORY: Final = "/var/run/secrets/fodc-tls"
TOKEN_DIRECTORY: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
TOKEN_TTL_S: Final = 3600
AUTHORITY_MAP: Final = "fodc-proxy-ca"
"""ConfigMap that the operator keeps in each namespace with a FodcInjection: who signs the proxy."""
AUTHORITY: Final = "ca.crt"
DATA_VOLUME: Final = "fodc-agent-data"
TOKEN_VOLUME: Final = "fodc-agent-token"  # noqa: S105 - a name
TLS_VOLUME: Final = "fodc-agent-tls"
CGROUP_VOLUME: Final = "fodc-agent-cgroup"
TRACING_VOLUME: Final = "fodc-agent-tracing"
VOLUMES: Final = frozenset({DATA_VOLUME, TOKEN_VOLUME, TLS_VOLUME, CGROUP_VOLUME, TRACING_VOLUME})
PORT_NAME: Final = "fodc-agent-http"
_HOST_PATHS: Final = {CGROUP_VOLUME: "/sys/fs/cgroup", TRACING_VOLUME: "/sys/kernel/tracing"}
_LARGEST_CAPTURE: Final = 64 * MIB
"""Default of the agent; it refuses a quota that is less."""


@dataclass(frozen=True, slots=True)
class Placement:
    """What the pod says about the agent's container."""

    shape: Shape
    flavor: Flavor
    resources: Resources
    uid: int | None = None
    """User of the database container, None where the pod does not tell."""
    gid: int | None = None
    port: int = 9090
    """0 stands for any free port on loopback, where the network is the machine's."""
    port_name: str = PORT_NAME
    is_probed: bool = True
    mounts: tuple[dict[str, Any], ...] = ()
    crash_directory: str = ""
    se_linux: Mapping[str, Any] = field(default_factory=dict)
    """Of the database container; those of the pod count for the agent as they are."""


def volume_bytes(template: AgentTemplate) -> int:
    """Return the size limit of the agent's volume: a quarter above what it writes, whole MiB."""
    written = template.capture_quota_bytes + template.window_bytes
    return -(-written * 5 // (4 * MIB)) * MIB


# ---- volumes ----------------------------------------------------------------------------------


def volumes(policy: Policy, flavor: Flavor) -> list[dict[str, Any]]:
    """Return the volumes that come with the container."""
    size = format_bytes(volume_bytes(policy.agent))
    result: list[dict[str, Any]] = [
        {"name": DATA_VOLUME, "emptyDir": {"sizeLimit": size}},
        {"name": TOKEN_VOLUME, "projected": {"sources": credentials(policy.agent)}},
    ]
    if policy.agent.tls_secret:
        secret = {"secretName": policy.agent.tls_secret, "optional": True}
        result.append({"name": TLS_VOLUME, "secret": secret})
    if flavor is Flavor.EBPF:
        result += [{"name": name, "hostPath": {"path": path}} for name, path in _HOST_PATHS.items()]
    return result


def credentials(agent: AgentTemplate) -> list[dict[str, Any]]:
    """Return what the projected volume holds: the token, and by whom the proxy is known.

    The authority may come later than the pod, which never waits for it, and follows a rotation.
    """
    token = {"audience": TOKEN_AUDIENCE, "expirationSeconds": TOKEN_TTL_S, "path": "token"}
    sources: list[dict[str, Any]] = [{"serviceAccountToken": token}]
    if agent.is_secured and not agent.tls_secret:
        items = [{"key": AUTHORITY, "path": AUTHORITY}]
        sources.append({"configMap": {"name": AUTHORITY_MAP, "items": items, "optional": True}})
    return sources


def proxy_arguments(agent: AgentTemplate) -> Iterator[tuple[str, str]]:
    """Yield how the agent knows the proxy and shows who it is.

    Without TLS it shows nothing: a token in the clear is anybody's.
    """
    if agent.tls_secret:
        yield "proxy-tls-ca", f"{TLS_DIRECTORY}/ca.crt"
        yield "proxy-tls-cert", f"{TLS_DIRECTORY}/tls.crt"
        yield "proxy-tls-key", f"{TLS_DIRECTORY}/tls.key"
        yield "proxy-token-file", f"{TOKEN_DIRECTORY}/token"
    elif agent.is_secured:
        yield "proxy-tls-ca", f"{TOKEN_DIRECTORY}/{AUTHORITY}"
        yield "proxy-token-file", f"{TOKEN_DIRECTORY}/token"


def _mounts(policy: Policy, placement: Placement) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = [
        {"name": DATA_VOLUME, "mountPath": HOME},
        {"name": TOKEN_VOLUME, "mountPath": TOKEN_DIRECTORY, "readOnly": True},
    ]
    if policy.agent.tls_secret:
        result.append({"name": TLS_VOLUME, "mountPath": TLS_DIRECTORY, "readOnly": True})
    if placement.flavor is Flavor.EBPF:
        result += [
            {"name": name, "mountPath": path, "readOnly": True}
            for name, path in _HOST_PATHS.items()
        ]
    return [*result, *placement.mounts]


# ---- the container ----------------------------------------------------------------------------


def container(policy: Policy, placement: Placement, *, is_native: bool) -> dict[str, Any]:
    """Return the agent's container."""
    result: dict[str, Any] = {"name": AGENT_CONTAINER, "image": policy.agent.image}
    if policy.agent.image_pull_policy is not None:
        result["imagePullPolicy"] = str(policy.agent.image_pull_policy)
    if is_native:
        result["restartPolicy"] = "Always"
    result["args"] = [_argument(*pair) for pair in _arguments(policy, placement)]
    result["env"] = [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for name, path in AGENT_VARIABLES.items()
    ]
    if placement.port:
        port = {"containerPort": placement.port, "protocol": "TCP"}
        named = {"name": placement.port_name} if placement.port_name else {}
        result["ports"] = [{**named, **port}]
    if placement.port and placement.is_probed:
        result["livenessProbe"] = _liveness(placement.port)
    result["resources"] = placement.resources
    result["securityContext"] = _security(policy, placement)
    result["volumeMounts"] = _mounts(policy, placement)
    return result


def _liveness(port: int) -> dict[str, Any]:
    """Return the only probe: readiness or start of the agent must not be those of the pod."""
    return {
        "httpGet": {"path": "/healthz", "port": port},
        "periodSeconds": 20,
        "timeoutSeconds": 5,
        "failureThreshold": 6,
    }


def _argument(name: str, value: object) -> str:
    """Return `--name=value`; `$(` would be expanded by the kubelet."""
    return f"--{name}={str(value).replace('$(', '$$(')}"


def _arguments(policy: Policy, placement: Placement) -> Iterator[tuple[str, object]]:
    shape, agent = placement.shape, policy.agent
    yield "proxy-addr", agent.proxy_address
    yield "cluster", policy.cluster
    if shape.kind is not None:
        yield "node-role", shape.kind
    if shape.tier:
        yield "node-labels", f"type={shape.tier}"
    yield "container-names", ",".join(shape.metrics_containers)
    yield "poll-metrics-ports", ",".join(map(str, shape.metrics_ports))
    yield "cluster-state-ports", ",".join(map(str, shape.cluster_state_ports))
    if shape.registry_port:
        yield "lifecycle-port", shape.cluster_state_ports[0]
        yield "schema-registry-port", shape.registry_port
    yield "pprof-ports", shape.pprof_port
    yield "prometheus-listen-addr", f":{placement.port}" if placement.port else "127.0.0.1:0"
    yield "capture-dir", f"{HOME}/captures"
    yield "capture-quota", agent.capture_quota_bytes
    if agent.capture_quota_bytes < _LARGEST_CAPTURE:
        yield "capture-max-bytes", agent.capture_quota_bytes
    yield "recorder-dir", f"{HOME}/window"
    yield "recorder-max-bytes", agent.window_bytes
    yield "log-level", agent.log_level.lower()
    yield "node-container", shape.container
    yield "attachment", "sidecar"
    yield "flavor", placement.flavor.lower()
    if placement.crash_directory:
        yield "crash-source-dir", placement.crash_directory
    yield from proxy_arguments(agent)


def _security(policy: Policy, placement: Placement) -> dict[str, Any]:
    """Return what Pod Security `restricted` wants, but for the flavor that needs the kernel.

    Capabilities are given to UID 0 only: any other user would have none of them (§4.4).
    """
    is_kernel = placement.flavor is Flavor.EBPF
    uid, gid = (0, 0) if is_kernel else (placement.uid, placement.gid)
    capabilities: dict[str, Any] = {"drop": ["ALL"]}
    if is_kernel:
        capabilities["add"] = ["BPF", "PERFMON", *(["SYS_PTRACE"] if policy.ptrace else [])]
    result: dict[str, Any] = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": uid != 0,
        "capabilities": capabilities,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if placement.se_linux:
        # With another label the agent could neither see the process nor read what both share.
        result["seLinuxOptions"] = dict(placement.se_linux)
    if uid is not None:
        result["runAsUser"] = uid
    if gid is not None:
        result["runAsGroup"] = gid
    return result
