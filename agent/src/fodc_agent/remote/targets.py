# SPDX-License-Identifier: Apache-2.0
"""The file of --targets-file: which nodes to attach to over the network. Pure.

The one idea: one target that makes no sense is refused by name and stops no other; only a file
that is no list of targets at all is broken as a whole.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Final, TypeVar

from fodc_agent.declaring import ROLES
from fodc_agent.remote.shares import Share
from fodc_agent.settings import Settings
from fodc_protocol.errors import FodcError
from fodc_protocol.lean import dataclass

MOST_TARGETS: Final = 64
FOLDER: Final = "targets"
"""Below --capture-dir and --recorder-dir: one directory for each target."""
_POD: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?|")
_UID: Final = re.compile(r"[A-Za-z0-9-]{0,64}")
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:%_-]{0,252})|[A-Za-z0-9]|::[0-9A-Fa-f:.]{0,40}")
_ANY: Final = re.compile(r"[^\x00-\x1f]{0,253}")
_MOST_LISTED: Final = 16
_NO_LABELS: Final[Mapping[str, str]] = {}
_T = TypeVar("_T")


class TargetsError(FodcError):
    """The file holds no list of targets."""


@dataclass(frozen=True, slots=True)
class Target:
    """One node and where it is reached; empty ports stand for the agent's own options."""

    pod_name: str
    host: str
    namespace: str = ""
    pod_uid: str = ""
    kubernetes_node: str = ""
    cluster: str = ""
    role: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: _NO_LABELS)
    metrics_ports: tuple[int, ...] = ()
    container_names: tuple[str, ...] = ()
    cluster_state_ports: tuple[int, ...] = ()
    pprof_ports: tuple[int, ...] = ()

    @property
    def key(self) -> str:
        """Name of the target for people, one for each pod."""
        return f"{self.namespace}/{self.pod_name}" if self.namespace else self.pod_name

    @property
    def folder(self) -> str:
        """Name of its directories: another one for another pod of the same name."""
        return "_".join(filter(None, (self.namespace or "-", self.pod_name, self.pod_uid)))


@dataclass(frozen=True, slots=True)
class Targets:
    """What a file asks for: `refused` says which entries were left out and why."""

    targets: tuple[Target, ...]
    refused: tuple[str, ...] = ()


def parse_targets(text: str, most: int = MOST_TARGETS) -> Targets:
    """Return the targets of a file; raises TargetsError when it is broken as a whole."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TargetsError(f"no JSON: {error}") from error
    entries = document.get("targets") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise TargetsError('no object with a list "targets"')
    found: dict[str, Target] = {}
    refused: list[str] = []
    for place, entry in enumerate(entries):
        _take(found, refused, place, entry)
    kept = tuple(found.values())
    if len(kept) > most:
        names = ", ".join(one.key for one in kept[most : most + 8])
        refused.append(f"{len(kept) - most} beyond the limit of {most} are left out: {names}")
    return Targets(kept[:most], tuple(refused))


def _take(found: dict[str, Target], refused: list[str], place: int, entry: object) -> None:
    try:
        target = _target(entry)
    except _RefusedError as problem:
        refused.append(f"targets[{place}]{problem}")
        return
    if target.key in found:
        refused.append(f"targets[{place}]: {target.key} is there already")
    else:
        found[target.key] = target


# ---- one entry ------------------------------------------------------------------------------


class _RefusedError(Exception):
    """What is wrong with one entry, as ".field: problem"."""


def _target(entry: object) -> Target:
    if not isinstance(entry, dict):
        raise _RefusedError(" is no object")
    target = Target(
        pod_name=_text(entry, "pod_name", _POD),
        host=_text(entry, "host", _HOST),
        namespace=_text(entry, "namespace", _NAMESPACE, ""),
        pod_uid=_text(entry, "pod_uid", _UID, ""),
        kubernetes_node=_text(entry, "kubernetes_node", _ANY, ""),
        cluster=_text(entry, "cluster", _ANY, ""),
        role=_role(entry),
        labels=_labels(entry),
        metrics_ports=_list(entry, "metrics_ports", _port),
        container_names=_list(entry, "container_names", _name),
        cluster_state_ports=_list(entry, "cluster_state_ports", _port),
        pprof_ports=_list(entry, "pprof_ports", _port),
    )
    names, ports = len(target.container_names), len(target.metrics_ports)
    if names and names != ports:
        raise _RefusedError(f".container_names: {names} of them for {ports} metrics_ports")
    return target


def _text(
    entry: Mapping[str, object], name: str, form: re.Pattern[str], default: str | None = None
) -> str:
    value = entry.get(name, default)
    if not isinstance(value, str) or not form.fullmatch(value):
        raise _RefusedError(f".{name}: missing or not of the right form")
    return value


def _role(entry: Mapping[str, object]) -> str:
    role = ROLES.get(_text(entry, "role", _ANY, "").lower())
    if role is None:
        raise _RefusedError(".role: none of data, liaison, standalone")
    return role


def _labels(entry: Mapping[str, object]) -> Mapping[str, str]:
    labels = entry.get("labels", {})
    if not isinstance(labels, dict) or not all(isinstance(one, str) for one in labels.values()):
        raise _RefusedError(".labels: no object of texts")
    return {name: value for name, value in sorted(labels.items()) if name}


def _list(entry: Mapping[str, object], name: str, read: Callable[[object], _T]) -> tuple[_T, ...]:
    values = entry.get(name, [])
    if not isinstance(values, list) or len(values) > _MOST_LISTED:
        raise _RefusedError(f".{name}: no list of at most {_MOST_LISTED}")
    try:
        return tuple(map(read, values))
    except ValueError as error:
        raise _RefusedError(f".{name}: {error}") from error


def _port(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 65_536:
        raise ValueError("ports are numbers from 1 to 65535")
    return value


def _name(value: object) -> str:
    if not isinstance(value, str) or not _ANY.fullmatch(value):
        raise ValueError("names are texts")
    return value


# ---- settings of its agent ------------------------------------------------------------------


def settings_of(target: Target, settings: Settings, share: Share) -> Settings:
    """Return what the agent of one target is told: the program's options, and who the node is."""
    below = Path(FOLDER) / target.folder
    recorder = settings.recorder_dir
    return replace(
        settings,
        pod_name=target.pod_name,
        pod_namespace=target.namespace,
        pod_uid=target.pod_uid,
        pod_ip="",
        kubernetes_node=target.kubernetes_node,
        cluster=target.cluster or settings.cluster,
        node_role=target.role or settings.node_role,
        node_labels={**settings.node_labels, **target.labels},
        node_host=target.host,
        metrics_ports=target.metrics_ports or settings.metrics_ports,
        container_names=target.container_names,
        cluster_state_ports=target.cluster_state_ports or settings.cluster_state_ports,
        pprof_ports=target.pprof_ports or settings.pprof_ports,
        window_budget_bytes=share.window_bytes,
        recorder_dir=None if recorder is None else recorder / below,
        recorder_max_bytes=share.journal_bytes,
        capture_dir=settings.capture_dir / below,
        capture_quota_bytes=share.quota_bytes,
    )
