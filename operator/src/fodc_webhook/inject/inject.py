# SPDX-License-Identifier: Apache-2.0
"""Puts the agent into a pod: a pure function from pod and policy to a pod that may be created.

The one idea: the pod that comes out differs from the one that came in by the agent's container, its
volumes, its marks, and what the policy asks of the pod itself; where that is not possible it comes
out with the reason. An agent of ours that is what would be put in now is left as it is, with all
that others have done to it since: image mirrors and meshes change containers too.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from fodc_kube.pods import (
    Container,
    Pod,
    annotations_of,
    containers_of,
    entries,
    init_containers_of,
    labels_of,
    mapping,
    number,
    spec_of,
    text,
    volumes_of,
)
from fodc_kube.texts import label_value
from fodc_webhook.inject import rendering
from fodc_webhook.inject.flavors import Granted, granted
from fodc_webhook.inject.marks import (
    AGENT_CONTAINER,
    INJECTED_BY,
    LOCAL_VOLUMES,
    NOTE,
    REVISION,
    SKIPPED,
    USED_FLAVOR,
)
from fodc_webhook.inject.obstacles import obstacle_to
from fodc_webhook.inject.outcome import Injection, Outcome, SkipReason
from fodc_webhook.inject.overrides import AnnotationError, database_told_by, overridden
from fodc_webhook.inject.pod_reading import has_our_agent, in_mesh, others_of
from fodc_webhook.inject.revision import revision_of
from fodc_webhook.inject.server_versions import NATIVE_SIDECARS_FROM
from fodc_webhook.inject.shapes import Shape, ShapeError, shape_of
from fodc_webhook.inject.sharing import Sharing, share
from fodc_webhook.inject.sizing import raised, resources_of
from fodc_webhook.inject.skipping import skipped, with_annotations
from fodc_webhook.resources.fodc_injection import Flavor, Mode, Policy

AGENT_PORT: Final = 9090
_OTHER_PORTS: Final = range(19_090, 19_190)
VOLUME_PREFIXES: Final = ("fodc-agent-", "fodc-shared-")
_TALKS_OF_PORTS: Final = (
    "command",
    "args",
    "env",
    "ports",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
)


def inject(
    pod: Pod,
    policy: Policy,
    server_version: tuple[int, int],
    namespace_labels: Mapping[str, str],
) -> Injection:
    """Return the pod with an agent, or without one and why.

    `server_version` is the oldest of API server and kubelets that is known. Idempotent; raises
    nothing for any pod that an API server admits, and changes nothing in place.
    """
    found = obstacle_to(pod, policy, server_version)
    if found is not None:
        return skipped(pod, *found, policy=policy.name)
    try:
        wanted = overridden(policy, pod)
        shape = shape_of(
            pod,
            container=wanted.database_container,
            told_by=database_told_by(pod),
            pprof_port=wanted.pprof_port,
        )
    except AnnotationError as error:
        return skipped(pod, SkipReason.BAD_ANNOTATION, error.message, policy=policy.name)
    except ShapeError as error:
        return skipped(pod, error.reason, error.message, policy=policy.name)
    access = granted(wanted.flavor, pod, namespace_labels)
    taken = _volume_taken(pod, wanted, access.flavor)
    if taken:
        return skipped(pod, SkipReason.NAME_TAKEN, taken, policy=policy.name)
    mode = mode_for(wanted.mode, server_version)
    return _injected(pod, _Plan(wanted, shape, access, mode, revision_of(policy)))


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be done with one pod; the policy is as its annotations want it."""

    policy: Policy
    shape: Shape
    access: Granted
    mode: Mode
    revision: str

    @property
    def flavor(self) -> Flavor:
        return self.access.flavor


def _injected(pod: Pod, plan: _Plan) -> Injection:
    if _is_current(pod, plan):
        return _success(pod, plan, text(annotations_of(pod).get(NOTE)))
    sharing = share(pod, plan.shape.container, plan.policy.shared_directories)
    placement = _placement(pod, plan, sharing)
    note = _note(pod, plan, placement, sharing)
    is_native = plan.mode is Mode.NATIVE_SIDECAR
    agent = rendering.container(plan.policy, placement, is_native=is_native)
    return _success(_marked(_with_spec(pod, plan, agent, sharing), plan, note), plan, note)


def _success(pod: Pod, plan: _Plan, note: str) -> Injection:
    return Injection(
        pod=pod,
        outcome=Outcome.INJECTED,
        policy=plan.policy.name,
        flavor=plan.flavor,
        mode=plan.mode,
        revision=plan.revision,
        note=note,
    )


def mode_for(wanted: Mode, server_version: tuple[int, int]) -> Mode:
    """Return how the agent runs: a native sidecar only where the server knows them.

    An older server drops the field that makes it one, and the pod would wait for it for ever.
    """
    if wanted is Mode.CONTAINER or server_version < NATIVE_SIDECARS_FROM:
        return Mode.CONTAINER
    return Mode.NATIVE_SIDECAR


def _is_current(pod: Pod, plan: _Plan) -> bool:
    """Whether the pod has exactly this agent already, as on a second call of the webhook."""
    right, wrong = init_containers_of(pod), containers_of(pod)
    if plan.mode is Mode.CONTAINER:
        right, wrong = wrong, right
    annotations = annotations_of(pod)
    return (
        annotations.get(REVISION) == plan.revision
        and annotations.get(USED_FLAVOR) == plan.flavor
        and labels_of(pod).get(INJECTED_BY) == label_value(plan.policy.name)
        and _has_agent(right)
        and not _has_agent(wrong)
    )


def _has_agent(containers: list[Container]) -> bool:
    return any(one.get("name") == AGENT_CONTAINER for one in containers)


def _volume_taken(pod: Pod, policy: Policy, flavor: Flavor) -> str:
    """Say which volume of the pod has a name of ours and is another; empty for none."""
    if has_our_agent(pod):
        return ""
    known = volumes_of(pod)
    if known.keys().isdisjoint(rendering.VOLUMES):
        return ""
    for volume in rendering.volumes(policy, flavor):
        name = text(volume["name"])
        if name in known and dict(known[name]) != volume:
            return f"the pod has a volume {name}, which the agent needs for itself; rename it"
    return ""


# ---- what the pod says about the container ----------------------------------------------------


def _placement(pod: Pod, plan: _Plan, sharing: Sharing) -> rendering.Placement:
    uid, gid = _user_of(pod, sharing.database)
    disk_bytes = rendering.volume_bytes(plan.policy.agent) + sharing.disk_bytes
    names = {text(port.get("name")) for one in others_of(pod) for port in entries(one.get("ports"))}
    return rendering.Placement(
        shape=plan.shape,
        flavor=plan.flavor,
        resources=resources_of(plan.policy.agent, pod, disk_bytes),
        uid=uid,
        gid=gid,
        port=_free_port(pod),
        port_name="" if rendering.PORT_NAME in names else rendering.PORT_NAME,
        is_probed=not in_mesh(pod),
        mounts=sharing.mounts,
        crash_directory=sharing.crash_directory,
        se_linux=mapping(mapping(sharing.database.get("securityContext")).get("seLinuxOptions")),
    )


def _user_of(pod: Pod, database: Container) -> tuple[int | None, int | None]:
    """Return UID and GID of the database: its own, else the pod's, else unknown."""
    own = mapping(database.get("securityContext"))
    whole = mapping(spec_of(pod).get("securityContext"))
    uid, gid = number(own.get("runAsUser")), number(own.get("runAsGroup"))
    return (
        number(whole.get("runAsUser")) if uid is None else uid,
        number(whole.get("runAsGroup")) if gid is None else gid,
    )


def _free_port(pod: Pod) -> int:
    """Return a port that no other container talks of; 0 where the network is the machine's.

    A native sidecar starts first and would take the port from whoever comes to listen on it.
    """
    if spec_of(pod).get("hostNetwork") is True:
        return 0
    # One text of all is many times faster to search than its values one by one.
    said = msgspec.json.encode([list(map(one.get, _TALKS_OF_PORTS)) for one in others_of(pod)])
    tried = (AGENT_PORT, *_OTHER_PORTS)
    return next((port for port in tried if not _is_talked_of(port, said)), AGENT_PORT)


def _is_talked_of(port: int, said: bytes) -> bool:
    """Whether a port is in a text as a number of its own, not as part of another."""
    digits = b"%d" % port
    return digits in said and re.search(rb"(?<!\d)%b(?!\d)" % digits, said) is not None


def _note(pod: Pod, plan: _Plan, placement: rendering.Placement, sharing: Sharing) -> str:
    """Say what is less than was asked for, and what to do about it."""
    notes = [plan.access.note]
    if plan.policy.mode is Mode.NATIVE_SIDECAR and plan.mode is Mode.CONTAINER:
        notes.append("mode NativeSidecar needs Kubernetes 1.29, so the agent is a plain container")
    notes.append(_closed_files(plan, placement, sharing))
    if _cannot_resolve(pod, plan.policy.agent.proxy_address):
        notes.append(
            f"with hostNetwork the name {plan.policy.agent.proxy_address} is not found; set "
            "dnsPolicy: ClusterFirstWithHostNet"
        )
    return "; ".join(note for note in (*notes, *sharing.notes) if note)


def _closed_files(plan: _Plan, placement: rendering.Placement, sharing: Sharing) -> str:
    """Say when files of the database may not be readable: the agent has no rights over others."""
    is_kernel = plan.flavor is Flavor.EBPF
    if is_kernel and sharing.mounts and placement.uid != 0:
        return "as UID 0 without its rights the agent reads only shared files that all may read"
    if is_kernel or placement.uid is not None:
        return ""
    if not sharing.mounts and plan.flavor is Flavor.BASIC:
        return ""
    return (
        f"the pod does not tell the user of the container {plan.shape.container}, whose files "
        "may be closed to the agent; set securityContext.runAsUser and runAsGroup"
    )


def _cannot_resolve(pod: Pod, address: str) -> bool:
    spec = spec_of(pod)
    inside = ".svc" in address
    return (
        inside
        and spec.get("hostNetwork") is True
        and spec.get("dnsPolicy") not in {"ClusterFirstWithHostNet", "None"}
    )


# ---- the pod that comes out -------------------------------------------------------------------


def _with_spec(pod: Pod, plan: _Plan, agent: dict[str, Any], sharing: Sharing) -> Pod:
    spec = dict(spec_of(pod))
    containers = [
        sharing.database if one.get("name") == plan.shape.container else one
        for one in containers_of(pod)
    ]
    inits = init_containers_of(pod)
    if plan.mode is Mode.NATIVE_SIDECAR:
        containers, inits = _without_agent(containers), _placed(inits, agent)
    else:
        containers, inits = _placed(containers, agent), _without_agent(inits)
    spec["containers"] = containers
    if inits or spec.get("initContainers"):
        spec["initContainers"] = inits
    volumes = (*rendering.volumes(plan.policy, plan.flavor), *sharing.volumes)
    spec["volumes"] = _volumes(pod, volumes)
    if plan.access.shares_processes:
        spec["shareProcessNamespace"] = True
    secrets = _pull_secrets(spec.get("imagePullSecrets"), plan.policy.agent.image_pull_secrets)
    if secrets:
        spec["imagePullSecrets"] = secrets
    whole = raised(pod, agent["resources"])
    if whole is not None:
        spec["resources"] = whole
    return {**pod, "spec": spec}


def _pull_secrets(there: object, ours: Sequence[str]) -> list[Mapping[str, Any]]:
    """Return the pod's Secrets for pulling images, with those of the agent's image."""
    known = entries(there)
    names = {text(one.get("name")) for one in known}
    return [*known, *({"name": name} for name in ours if name not in names)]


def _placed(containers: list[Container], agent: dict[str, Any]) -> list[Container]:
    """Put the agent where one was, else at the end, so that nobody else changes places."""
    if not _has_agent(containers):
        return [*containers, agent]
    return [agent if one.get("name") == AGENT_CONTAINER else one for one in containers]


def _without_agent(containers: list[Container]) -> list[Container]:
    return [one for one in containers if one.get("name") != AGENT_CONTAINER]


def _volumes(pod: Pod, ours: Sequence[dict[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the pod's volumes with ours, each where it was before or at the end."""
    wanted = {text(one["name"]): one for one in ours}
    leaving = rendering.VOLUMES - set(wanted) if has_our_agent(pod) else frozenset()
    known = volumes_of(pod)
    kept: list[Mapping[str, Any]] = [
        wanted.get(name, volume) for name, volume in known.items() if name not in leaving
    ]
    return [*kept, *(one for name, one in wanted.items() if name not in known)]


def _local_volumes(pod: Pod) -> str:
    """Let the cluster autoscaler drain the pod's node in spite of our volumes, as without us."""
    ours = [text(name) for name, one in volumes_of(pod).items() if _is_ours(name, one)]
    said = text(annotations_of(pod).get(LOCAL_VOLUMES))
    told = [one.strip() for one in said.split(",") if one.strip()]
    return ",".join(dict.fromkeys([*told, *ours]))


def _is_ours(name: str, volume: Mapping[str, Any]) -> bool:
    return name.startswith(VOLUME_PREFIXES) and "emptyDir" in volume


def _marked(pod: Pod, plan: _Plan, note: str) -> Pod:
    annotations: dict[str, str | None] = {
        REVISION: plan.revision,
        USED_FLAVOR: str(plan.flavor),
        NOTE: note or None,
        SKIPPED: None,
        LOCAL_VOLUMES: _local_volumes(pod),
    }
    marked = with_annotations(pod, annotations)
    labels = {**labels_of(pod), INJECTED_BY: label_value(plan.policy.name)}
    return {**marked, "metadata": {**mapping(marked.get("metadata")), "labels": labels}}
