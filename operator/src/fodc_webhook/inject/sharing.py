# SPDX-License-Identifier: Apache-2.0
"""Directories that database and agent share: the only thing that changes in another container.

The one idea: what the database container has at a path already is used as it is; a volume of ours
comes only where there is nothing that it could hide.
"""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from fodc_kube.pods import (
    Container,
    Pod,
    containers_of,
    entries,
    has_variable,
    mapping,
    text,
    volumes_of,
    words_of,
)
from fodc_webhook.inject.pod_reading import setting, variable_of
from fodc_webhook.resources.fodc_injection import SharedDirectory, is_shareable
from fodc_webhook.resources.quantities import format_bytes, parse_quantity

CRASH: Final = "crash"
VOLUME_PREFIX: Final = "fodc-shared-"
_ENABLED: Final = "panic-diagnostics-enabled"
_DIRECTORY: Final = "panic-diagnostics-dir"
_REFERENCE: Final = re.compile(r"\$\(([^)]*)\)")
AGENT_VARIABLES: Final[Mapping[str, str]] = {
    "POD_NAME": "metadata.name",
    "POD_NAMESPACE": "metadata.namespace",
    "POD_UID": "metadata.uid",
    "NODE_NAME": "spec.nodeName",
    "POD_IP": "status.podIP",
}
"""Variables of the agent's container and the field of the pod behind each."""

Volumes = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Sharing:
    """What sharing makes of the database container, the pod's volumes and the agent's mounts."""

    database: Container
    volumes: tuple[dict[str, Any], ...] = ()
    mounts: tuple[dict[str, Any], ...] = ()
    crash_directory: str = ""
    disk_bytes: int = 0
    """What the volumes that are ours may hold."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a directory is shared, or why it is not; and what is mounted there already."""

    path: str
    why_not: str = ""
    mount: Mapping[str, Any] = field(default_factory=dict)


def share(pod: Pod, container: str, directories: tuple[SharedDirectory, ...]) -> Sharing:
    """Return how the directories are shared between the database container and the agent."""
    database = next(one for one in containers_of(pod) if one.get("name") == container)
    sharing = Sharing(database)
    for directory in directories:
        sharing = _with(sharing, directory, volumes_of(pod))
    return sharing


def _with(sharing: Sharing, directory: SharedDirectory, volumes: Volumes) -> Sharing:
    place = _place(sharing.database, directory, _known(sharing, volumes))
    if place.why_not:
        note = f"the directory {directory.name} is not shared: {place.why_not}"
        return replace(sharing, notes=(*sharing.notes, note))
    if place.mount:
        shared = _with_theirs(sharing, place, _known(sharing, volumes))
    else:
        shared = _with_ours(sharing, directory, place.path)
    return _with_crashes(shared, place.path) if directory.name == CRASH else shared


def _known(sharing: Sharing, volumes: Volumes) -> Volumes:
    return {**volumes, **{text(one["name"]): one for one in sharing.volumes}}


def _with_theirs(sharing: Sharing, place: _Place, volumes: Volumes) -> Sharing:
    """Mount what is there already; only what lives as long as the pod may be written to."""
    if any(one["mountPath"] == place.path for one in sharing.mounts):
        return sharing
    name = text(place.mount.get("name"))
    mount: dict[str, Any] = {"name": name, "mountPath": place.path}
    for part in ("subPath", "subPathExpr"):
        if place.mount.get(part):
            mount[part] = place.mount[part]
    if not _is_temporary(volumes, name) or place.mount.get("readOnly"):
        mount["readOnly"] = True
    kept = _own_bytes(volumes.get(name, {}))
    return replace(sharing, mounts=(*sharing.mounts, mount), disk_bytes=sharing.disk_bytes + kept)


def _is_temporary(volumes: Volumes, name: str) -> bool:
    return "emptyDir" in volumes.get(name, {})


def _own_bytes(volume: Mapping[str, Any]) -> int:
    """Size of a volume that an earlier injection put in; 0 for any other."""
    limit = parse_quantity(mapping(volume.get("emptyDir")).get("sizeLimit"))
    is_ours = text(volume.get("name")).startswith(VOLUME_PREFIX)
    return int(limit) if is_ours and limit else 0


def _with_ours(sharing: Sharing, directory: SharedDirectory, path: str) -> Sharing:
    name = VOLUME_PREFIX + directory.name
    volume = {"name": name, "emptyDir": {"sizeLimit": format_bytes(directory.size_limit_bytes)}}
    mount = {"name": name, "mountPath": path}
    mounts = [*_list(sharing.database, "volumeMounts"), mount]
    return replace(
        sharing,
        database={**sharing.database, "volumeMounts": mounts},
        volumes=(*sharing.volumes, volume),
        mounts=(*sharing.mounts, dict(mount)),
        disk_bytes=sharing.disk_bytes + directory.size_limit_bytes,
    )


def _with_crashes(sharing: Sharing, path: str) -> Sharing:
    """Tell the database to write crash records there, unless it is told something already."""
    database, notes = sharing.database, sharing.notes
    if setting(database, _ENABLED) == "false":
        told = f"the database container's {variable_of(_ENABLED)} is false, so no crash is recorded"
        notes = (*notes, told)
    added = [
        {"name": variable_of(flag), "value": value}
        for flag, value in ((_ENABLED, "true"), (_DIRECTORY, path))
        if not _is_told(database, flag)
    ]
    if added:
        database = {**database, "env": [*_list(database, "env"), *added]}
    return replace(sharing, database=database, crash_directory=path, notes=notes)


def _list(container: Container, name: str) -> list[Any]:
    found = container.get(name)
    return found if isinstance(found, list) else []


def _is_told(database: Container, flag: str) -> bool:
    """Say whether the database is told this setting in any way, readable for us or not."""
    names = (f"--{flag}", f"--{flag}=")
    words = words_of(database)
    on_command_line = any(word == names[0] or word.startswith(names[1]) for word in words)
    return on_command_line or has_variable(database, variable_of(flag))


# ---- where ------------------------------------------------------------------------------------


def _place(database: Container, directory: SharedDirectory, volumes: Volumes) -> _Place:
    path = directory.mount_path
    if directory.name == CRASH and _is_told(database, _DIRECTORY):
        path = posixpath.normpath(setting(database, _DIRECTORY) or "?")
        if not is_shareable(path):
            told = variable_of(_DIRECTORY)
            return _Place(path, f"{told} of the database container is no directory to share")
    mount = _mount_at(database, path)
    if mount:
        return _Place(path, _cannot_be_repeated(database, mount), mount)
    return _Place(path, _in_the_way(database, path, volumes) or _name_taken(directory, volumes))


def _mount_at(database: Container, path: str) -> Mapping[str, Any]:
    found = (one for one in entries(database.get("volumeMounts")) if _path_of(one) == path)
    return next(found, {})


def _path_of(mount: Mapping[str, Any]) -> str:
    return posixpath.normpath(text(mount.get("mountPath")))


def _cannot_be_repeated(database: Container, mount: Mapping[str, Any]) -> str:
    """A subPathExpr that the agent cannot expand would keep its container from being made."""
    for name in _REFERENCE.findall(text(mount.get("subPathExpr"))):
        if not name or _field_behind(database, name) != AGENT_VARIABLES.get(name, ""):
            return (
                f"its volume is mounted with subPathExpr and the variable {name}, which the agent "
                "does not have; give sharedDirectories another mountPath"
            )
    return ""


def _field_behind(container: Container, name: str) -> str | None:
    """Return the field of the pod that a variable shows, None for any other variable."""
    sources = [one for one in entries(container.get("env")) if one.get("name") == name]
    value_from = mapping(sources[-1].get("valueFrom")) if sources else {}
    return text(mapping(value_from.get("fieldRef")).get("fieldPath")) or None


def _in_the_way(database: Container, path: str, volumes: Volumes) -> str:
    mounts = entries(database.get("volumeMounts"))
    below = [one for one in mounts if _path_of(one).startswith(f"{path}/")]
    if below:
        return (
            f"the volume {text(below[0].get('name'))} is mounted below {path}; give "
            "sharedDirectories another mountPath"
        )
    above = [one for one in mounts if f"{path}/".startswith(f"{_path_of(one)}/")]
    around = max(above, key=lambda one: len(_path_of(one)), default=None)
    if around is None:
        return ""
    name = text(around.get("name"))
    if _is_temporary(volumes, name) and not around.get("readOnly"):
        return ""
    return (
        f"{path} lies in the volume {name}, whose content a mount would hide; give "
        "sharedDirectories another mountPath"
    )


def _name_taken(directory: SharedDirectory, volumes: Volumes) -> str:
    name = VOLUME_PREFIX + directory.name
    if name not in volumes:
        return ""
    return f"the pod has another volume {name}; rename it or the directory"
