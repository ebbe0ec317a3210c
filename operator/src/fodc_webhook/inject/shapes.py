# SPDX-License-Identifier: Apache-2.0
"""Who is the database in a pod, what kind of node it is, and where it listens.

The one idea: evidence comes in ranks, and the strongest rank that finds anybody decides; when it
finds two nobody is chosen, since an agent beside the wrong process is worse than none. Shapes of
the official chart and of hand-written manifests: upstream-proxy §16.
"""

import posixpath
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fodc_kube.pods import (
    Container,
    Pod,
    annotations_of,
    containers_of,
    init_containers_of,
    is_native,
    labels_of,
    port_named,
    text,
    texts,
    words_of,
)
from fodc_webhook.inject.marks import AGENT_CONTAINER, ROLE, TIER
from fodc_webhook.inject.outcome import SkipReason
from fodc_webhook.inject.pod_reading import setting

METRICS_PORT: Final = 2121
PPROF_PORT: Final = 6060
GRPC_PORT: Final = 17912
INTERNAL_GRPC_PORT: Final = 18912
LIFECYCLE_GRPC_PORT: Final = 17914
LIFECYCLE_HTTP_PORT: Final = 17915
LIFECYCLE: Final = "lifecycle"
_NAME_LABEL: Final = "app.kubernetes.io/name"
_COMPONENT_LABEL: Final = "app.kubernetes.io/component"
_ROLE_LABEL: Final = "app.kubernetes.io/role"
_BINARY: Final = re.compile(r"banyand([-_](server|slim).*)?(\.exe)?")
_SHELL_LINE: Final = re.compile(r"\bbanyand\S*\s+(?P<kind>data|liaison|standalone)(?!\S)")
"""`sh -c "exec /banyand data …"`, as hand-written manifests have it."""
_TIER: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
MAX_TIER: Final = 63


class Kind(StrEnum):
    """What a BanyanDB process is, as its first argument says."""

    DATA = "data"
    LIAISON = "liaison"
    STANDALONE = "standalone"


KINDS: Final = frozenset(Kind)


@dataclass(frozen=True, slots=True)
class Shape:
    """What the agent must know of the pod; None and empty are what the pod does not tell."""

    container: str
    kind: Kind | None
    tier: str
    metrics_ports: tuple[int, ...]
    """One for each of `metrics_containers`."""
    metrics_containers: tuple[str, ...]
    cluster_state_ports: tuple[int, ...]
    """The first is the database's own; a liaison tells of groups and schemas on it as well."""
    pprof_port: int
    registry_port: int = 0
    """Where a liaison serves the registry of schemas; 0 for other databases."""


class ShapeError(Exception):
    """The pod does not tell who the database is; the message is for people."""

    def __init__(self, reason: SkipReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def shape_of(pod: Pod, *, container: str = "", told_by: str = "", pprof_port: int = 0) -> Shape:
    """Return the shape of a pod.

    `container` names the database container where somebody said it, `told_by` says where; a
    `pprof_port` other than 0 is taken as it is. Raises ShapeError.
    """
    database = _named(pod, container, told_by) if container else _found(pod)
    kind = _kind(pod, database)
    metrics = [(text(database.get("name")), _metrics_port(database))]
    cluster_state = [_cluster_state_port(database, kind)]
    beside = _lifecycle(pod, database) if kind is not Kind.LIAISON else None
    if beside is not None:
        metrics.append(
            (text(beside.get("name")), port_named(beside, "http") or LIFECYCLE_HTTP_PORT)
        )
        cluster_state.append(port_named(beside, "grpc") or LIFECYCLE_GRPC_PORT)
    return Shape(
        container=text(database.get("name")),
        kind=kind,
        tier=_tier(pod, database, kind),
        metrics_ports=tuple(port for _, port in metrics),
        metrics_containers=tuple(name for name, _ in metrics),
        cluster_state_ports=tuple(cluster_state),
        pprof_port=pprof_port or _pprof_port(database),
        registry_port=_grpc_port(database) if kind is Kind.LIAISON else 0,
    )


# ---- the database container -------------------------------------------------------------------


def candidates(pod: Pod) -> list[Container]:
    """Return the containers that could be the database: every regular one but the agent."""
    return [one for one in containers_of(pod) if one.get("name") != AGENT_CONTAINER]


def _named(pod: Pod, name: str, told_by: str) -> Container:
    for one in candidates(pod):
        if one.get("name") == name:
            return one
    message = (
        f"{told_by or 'databaseContainer'} names the container {name}, which the pod does not "
        f"have; it has {_listed(candidates(pod))}"
    )
    raise ShapeError(SkipReason.NO_DATABASE, message)


def _found(pod: Pod) -> Container:
    ranks: tuple[Callable[[Container], bool], ...] = (
        lambda one: is_chart_pod(pod) and one.get("name") == labels_of(pod).get(_COMPONENT_LABEL),
        lambda one: kind_of_words(one) is not None and _looks_like_banyandb(one),
        lambda one: kind_of_words(one) is not None,
        lambda one: _looks_like_banyandb(one) and not _is_other_program(one),
    )
    for rank in ranks:
        fits = [one for one in candidates(pod) if rank(one)]
        if len(fits) == 1:
            return fits[0]
        if fits:
            raise ShapeError(SkipReason.SEVERAL_DATABASES, _several(fits))
    message = (
        "no container looks like BanyanDB (by name, image or an argument data, liaison or "
        f"standalone) among {_listed(candidates(pod))}; name it in databaseContainer of the "
        "FodcInjection or in the pod's annotation fodc.banyandb.dev/container"
    )
    raise ShapeError(SkipReason.NO_DATABASE, message)


def _several(fits: Iterable[Container]) -> str:
    return (
        f"{_listed(fits)} all look like the database; name one in databaseContainer of the "
        "FodcInjection or in the pod's annotation fodc.banyandb.dev/container"
    )


def _listed(containers: Iterable[Container]) -> str:
    names = [text(one.get("name")) for one in containers]
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return shown or "none"


def is_chart_pod(pod: Pod) -> bool:
    """Say whether the pod carries the labels of the official chart for a node."""
    labels = labels_of(pod)
    return labels.get(_NAME_LABEL) == "banyandb" and text(labels.get(_COMPONENT_LABEL)) in KINDS


def kind_of_words(container: Container) -> Kind | None:
    """Return the kind that the first word of the command line says, flags and program left out."""
    arguments = texts(container.get("args"))
    command = texts(container.get("command"))[1:]
    for word in (*command, *arguments):
        if word in KINDS:
            return Kind(word)
        if not word.startswith("-"):
            found = _SHELL_LINE.search(word)
            return Kind(found["kind"]) if found else None
    return None


def _program(container: Container) -> str:
    command = texts(container.get("command"))
    return posixpath.basename(command[0]) if command else ""


def _is_other_program(container: Container) -> bool:
    """The image also holds /backup, /restore, /lifecycle, /migration (upstream-agent §15.5)."""
    return bool(_program(container)) and not _BINARY.fullmatch(_program(container))


def _looks_like_banyandb(container: Container) -> bool:
    image = text(container.get("image")).partition("@")[0]
    last = image.rpartition("/")[2]
    if "fodc" in last:
        return False
    return (
        "banyandb" in last
        or _BINARY.fullmatch(_program(container)) is not None
        or text(container.get("name")).startswith("banyan")
    )


# ---- what kind of node ------------------------------------------------------------------------


def _kind(pod: Pod, database: Container) -> Kind | None:
    told = text(annotations_of(pod).get(ROLE))
    if told in KINDS:
        return Kind(told)
    said = kind_of_words(database)
    if said is not None:
        return said
    labels, name = labels_of(pod), text(database.get("name"))
    for word in (
        text(labels.get(_COMPONENT_LABEL)),
        name,
        name.rpartition("-")[2],
        text(labels.get("app")).rpartition("-")[2],
    ):
        if word in KINDS:
            return Kind(word)
    return None


def _tier(pod: Pod, database: Container, kind: Kind | None) -> str:
    told = text(annotations_of(pod).get(TIER))
    if told:
        return told
    if kind is not Kind.DATA:
        return ""
    for pair in (setting(database, "node-labels") or "").split(","):
        name, _, value = pair.strip(" []").partition("=")
        if name.strip() == "type" and is_tier(value.strip()):
            return value.strip()
    label = text(labels_of(pod).get(_ROLE_LABEL))
    return label if is_chart_pod(pod) and is_tier(label) else ""


def is_tier(word: str) -> bool:
    """Say whether a word may be the tier of a node: the value of a label."""
    return 0 < len(word) <= MAX_TIER and _TIER.fullmatch(word) is not None


# ---- ports ------------------------------------------------------------------------------------


def _metrics_port(database: Container) -> int:
    return (
        _port_of(setting(database, "observability-listener-addr"))
        or port_named(database, "observability", "metrics")
        or METRICS_PORT
    )


def _pprof_port(database: Container) -> int:
    return (
        _port_of(setting(database, "pprof-listener-addr"))
        or port_named(database, "pprof")
        or PPROF_PORT
    )


def _cluster_state_port(database: Container, kind: Kind | None) -> int:
    if kind is Kind.LIAISON:
        return (
            _port_of(setting(database, "liaison-server-grpc-port"))
            or port_named(database, "internal-grpc")
            or INTERNAL_GRPC_PORT
        )
    return _grpc_port(database)


def _grpc_port(database: Container) -> int:
    return _port_of(setting(database, "grpc-port")) or port_named(database, "grpc") or GRPC_PORT


def _port_of(address: str | None) -> int:
    """Return the port of `:2121`, `host:2121` or `2121`; 0 for none."""
    digits = (address or "").rpartition(":")[2].strip()
    fits = digits.isascii() and digits.isdigit() and 0 < int(digits[:6]) < 65_536
    return int(digits) if fits else 0


def _lifecycle(pod: Pod, database: Container) -> Container | None:
    """Return the container that migrates data between tiers, which has ports of its own."""
    natives = [one for one in init_containers_of(pod) if is_native(one)]
    for one in (*candidates(pod), *natives):
        if one is not database and (one.get("name") == LIFECYCLE or _runs_lifecycle(one)):
            return one
    return None


def _runs_lifecycle(container: Container) -> bool:
    words = words_of(container)
    return bool(words) and posixpath.basename(words[0]) == LIFECYCLE
