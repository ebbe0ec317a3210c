# SPDX-License-Identifier: Apache-2.0
"""Puts the agent into a pod: a pure function from pod and policy to a pod that may be created.

The one idea: the pod that comes out differs from the one that came in by the agent's container, its
volumes, its marks, and what the policy asks of the pod itself; where that is not possible it comes
out with the reason. An agent of ours that is what would be put in now is left as it is, with all
that others have done to it since: image mirrors and meshes change containers too.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from fodc_operator.injection import rendering
from fodc_operator.injection.flavours import Granted, granted
from fodc_operator.injection.marks import (
    AGENT_CONTAINER,
    INJECTED_BY,
    NOTE,
    REVISION,
    SKIPPED,
    USED_FLAVOUR,
)
from fodc_operator.injection.obstacles import obstacle_to
from fodc_operator.injection.outcome import Injection, Outcome, Pod, SkipReason
from fodc_operator.injection.overrides import AnnotationError, database_told_by, overridden
from fodc_operator.injection.pod_reading import (
    Container,
    annotations_of,
    containers_of,
    entries,
    has_our_agent,
    in_mesh,
    init_containers_of,
    labels_of,
    mapping,
    number,
    others_of,
    spec_of,
    strings_in,
    text,
    volumes_of,
)
from fodc_operator.injection.revision import revision_of
from fodc_operator.injection.shapes import Shape, ShapeError, shape_of
from fodc_operator.injection.sharing import Sharing, share
from fodc_operator.injection.sizing import raised, resources_of
from fodc_operator.injection.skipping import skipped, with_annotations
from fodc_operator.resources.fodc_injection import Flavour, Mode, Policy
from fodc_operator.resources.fodcnode import label_value

NATIVE_SIDECARS_FROM: Final = (1, 29)
AGENT_PORT: Final = 9090
_OTHER_PORTS: Final = range(19_090, 19_190)
_PORT_WORD: Final = re.compile(r"(?<!\d)\d{4,5}(?!\d)")
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
    access = granted(wanted.flavour, pod, namespace_labels)
    taken = _volume_taken(pod, wanted, access.flavour)
    if taken:
        return skipped(pod, SkipReason.NAME_TAKEN, taken, policy=policy.name)
    return _injected(pod, wanted, shape, access, server_version, revision_of(policy))


def _injected(
    pod: Pod,
    policy: Policy,
    shape: Shape,
    access: Granted,
    server_version: tuple[int, int],
    revision: str,
) -> Injection:
    mode = mode_for(policy.mode, server_version)
    if _is_current(pod, policy, access.flavour, mode, revision):
        note = text(annotations_of(pod).get(NOTE))
        return _success(pod, policy, access.flavour, mode, revision, note)
    sharing = share(pod, shape.container, policy.shared_directories)
    placement = _placement(pod, policy, shape, access.flavour, sharing)
    note = _note(pod, policy, access, mode, placement, sharing)
    agent = rendering.container(policy, placement, is_native=mode is Mode.NATIVE_SIDECAR)
    changed = _with_spec(pod, policy, access, mode, agent, sharing)
    marked = _marked(changed, policy, access.flavour, revision, note)
    return _success(marked, policy, access.flavour, mode, revision, note)


def _success(
    pod: Pod, policy: Policy, flavour: Flavour, mode: Mode, revision: str, note: str
) -> Injection:
    return Injection(
        pod=pod,
        outcome=Outcome.INJECTED,
        policy=policy.name,
        flavour=flavour,
        mode=mode,
        revision=revision,
        note=note,
    )


def mode_for(wanted: Mode, server_version: tuple[int, int]) -> Mode:
    """Return how the agent runs: a native sidecar only where the server knows them.

    An older server drops the field that makes it one, and the pod would wait for it for ever.
    """
    if wanted is Mode.CONTAINER or server_version < NATIVE_SIDECARS_FROM:
        return Mode.CONTAINER
    return Mode.NATIVE_SIDECAR


def _is_current(pod: Pod, policy: Policy, flavour: Flavour, mode: Mode, revision: str) -> bool:
    """Whether the pod has exactly this agent already, as on a second call of the webhook."""
    native = mode is Mode.NATIVE_SIDECAR
    right, wrong = init_containers_of(pod), containers_of(pod)
    if not native:
        right, wrong = wrong, right
    annotations = annotations_of(pod)
    return (
        annotations.get(REVISION) == revision
        and annotations.get(USED_FLAVOUR) == flavour
        and labels_of(pod).get(INJECTED_BY) == label_value(policy.name)
        and _has_agent(right)
        and not _has_agent(wrong)
    )


def _has_agent(containers: list[Container]) -> bool:
    return any(one.get("name") == AGENT_CONTAINER for one in containers)


def _volume_taken(pod: Pod, policy: Policy, flavour: Flavour) -> str:
    """Say which volume of the pod has a name of ours and is another; empty for none."""
    if has_our_agent(pod):
        return ""
    known = volumes_of(pod)
    for volume in rendering.volumes(policy, flavour):
        name = text(volume["name"])
        if name in known and dict(known[name]) != volume:
            return f"the pod has a volume {name}, which the agent needs for itself; rename it"
    return ""


# ---- what the pod says about the container ----------------------------------------------------


def _placement(
    pod: Pod, policy: Policy, shape: Shape, flavour: Flavour, sharing: Sharing
) -> rendering.Placement:
    uid, gid = _user_of(pod, sharing.database)
    disk_bytes = rendering.volume_bytes(policy.agent) + sharing.disk_bytes
    names = {text(port.get("name")) for one in others_of(pod) for port in entries(one.get("ports"))}
    return rendering.Placement(
        shape=shape,
        flavour=flavour,
        resources=resources_of(policy.agent, pod, disk_bytes),
        uid=uid,
        gid=gid,
        port=_free_port(pod),
        port_name="" if rendering.PORT_NAME in names else rendering.PORT_NAME,
        is_probed=not in_mesh(pod),
        mounts=sharing.mounts,
        crash_directory=sharing.crash_directory,
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
    taken = {
        int(word)
        for one in others_of(pod)
        for place in _TALKS_OF_PORTS
        for string in strings_in(one.get(place))
        for word in _PORT_WORD.findall(string)
    }
    return next((port for port in (AGENT_PORT, *_OTHER_PORTS) if port not in taken), AGENT_PORT)


def _note(
    pod: Pod,
    policy: Policy,
    access: Granted,
    mode: Mode,
    placement: rendering.Placement,
    sharing: Sharing,
) -> str:
    notes = [access.note]
    if policy.mode is Mode.NATIVE_SIDECAR and mode is not Mode.NATIVE_SIDECAR:
        notes.append("mode NativeSidecar needs Kubernetes 1.29, so the agent is a plain container")
    if access.flavour is Flavour.PROC and placement.uid is None:
        notes.append(
            f"the pod does not tell the user of the container {placement.shape.container}, so its "
            "process may be closed to the agent; set securityContext.runAsUser and runAsGroup"
        )
    if _cannot_resolve(pod, policy.agent.proxy_address):
        notes.append(
            f"with hostNetwork the name {policy.agent.proxy_address} is not found; set dnsPolicy: "
            "ClusterFirstWithHostNet"
        )
    return "; ".join(note for note in (*notes, *sharing.notes) if note)


def _cannot_resolve(pod: Pod, address: str) -> bool:
    spec = spec_of(pod)
    inside = ".svc" in address
    return (
        inside
        and spec.get("hostNetwork") is True
        and spec.get("dnsPolicy") not in {"ClusterFirstWithHostNet", "None"}
    )


# ---- the pod that comes out -------------------------------------------------------------------


def _with_spec(
    pod: Pod,
    policy: Policy,
    access: Granted,
    mode: Mode,
    agent: dict[str, Any],
    sharing: Sharing,
) -> Pod:
    spec = dict(spec_of(pod))
    containers = [
        dict(sharing.database) if one.get("name") == sharing.database.get("name") else one
        for one in containers_of(pod)
    ]
    inits = init_containers_of(pod)
    if mode is Mode.NATIVE_SIDECAR:
        containers, inits = _without_agent(containers), _placed(inits, agent)
    else:
        containers, inits = _placed(containers, agent), _without_agent(inits)
    spec["containers"] = containers
    if inits or "initContainers" in spec:
        spec["initContainers"] = inits
    spec["volumes"] = _volumes(pod, [*rendering.volumes(policy, access.flavour), *sharing.volumes])
    if access.shares_processes:
        spec["shareProcessNamespace"] = True
    whole = raised(pod, agent["resources"])
    if whole is not None:
        spec["resources"] = whole
    return {**pod, "spec": spec}


def _placed(containers: list[Container], agent: dict[str, Any]) -> list[Container]:
    """Put the agent where one was, else at the end, so that nobody else changes places."""
    if not _has_agent(containers):
        return [*containers, agent]
    return [agent if one.get("name") == AGENT_CONTAINER else one for one in containers]


def _without_agent(containers: list[Container]) -> list[Container]:
    return [one for one in containers if one.get("name") != AGENT_CONTAINER]


def _volumes(pod: Pod, ours: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the pod's volumes with ours, each where it was before or at the end."""
    wanted = {text(one["name"]): one for one in ours}
    leaving = rendering.VOLUMES - set(wanted) if has_our_agent(pod) else frozenset()
    known = volumes_of(pod)
    kept: list[Mapping[str, Any]] = [
        wanted.get(name, volume) for name, volume in known.items() if name not in leaving
    ]
    return [*kept, *(one for name, one in wanted.items() if name not in known)]


def _marked(pod: Pod, policy: Policy, flavour: Flavour, revision: str, note: str) -> Pod:
    annotations: dict[str, str | None] = {
        REVISION: revision,
        USED_FLAVOUR: str(flavour),
        NOTE: note or None,
        SKIPPED: None,
    }
    marked = with_annotations(pod, annotations)
    metadata = mapping(marked.get("metadata"))
    labels = {**labels_of(pod), INJECTED_BY: label_value(policy.name)}
    return {**marked, "metadata": {**metadata, "labels": labels}}
