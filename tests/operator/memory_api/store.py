# SPDX-License-Identifier: Apache-2.0
"""Objects as an API server keeps them: versions, generations, conflicts, history; no network.

The one idea: one counter versions everything, every change is an event of that counter, and a
watch is the events after a version; what the contract suite holds against a real server is here.
"""

import asyncio
import copy
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"


class RefusalError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, reason: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message, self.headers = status, reason, message, headers


@dataclass(frozen=True)
class Resource:
    """A kind of objects that is served."""

    group: str
    version: str
    plural: str
    kind: str
    has_status: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


@dataclass(frozen=True)
class Event:
    version: int
    type: str
    object: Object


Key = tuple[str, str]


@dataclass
class Store:
    """All objects of one kind."""

    resource: Resource
    clock: "Clock"
    objects: dict[Key, Object] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    oldest: int = 100
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    # ---- reading ------------------------------------------------------------------------------

    def get(self, namespace: str, name: str) -> Object:
        found = self.objects.get((namespace, name))
        if found is None:
            raise RefusalError(404, "NotFound", f'{self.resource.qualified} "{name}" not found')
        return copy.deepcopy(found)

    def listed(self, namespace: str | None, labels: str = "", fields: str = "") -> list[Object]:
        return [
            copy.deepcopy(one)
            for (where, _), one in sorted(self.objects.items())
            if namespace in {None, where} and _selected(one, labels, fields)
        ]

    def after(self, version: int, namespace: str | None) -> list[Event]:
        """Events that a watch from `version` gives; 410 when they are forgotten."""
        if version < self.oldest:
            raise RefusalError(
                410, "Expired", f"too old resource version: {version} ({self.oldest})"
            )
        return [
            event
            for event in self.events
            if event.version > version
            and namespace in {None, event.object["metadata"]["namespace"]}
        ]

    def compact(self) -> None:
        """Forget what happened before now: watches from older versions get 410."""
        self.oldest = self.clock.version
        self.events.clear()

    # ---- writing ------------------------------------------------------------------------------

    def create(self, namespace: str, body: Object) -> Object:
        one = copy.deepcopy(body)
        meta = one.setdefault("metadata", {})
        name = meta.get("name") or f"{meta.pop('generateName', '')}{uuid.uuid4().hex[:5]}"
        if (namespace, name) in self.objects:
            message = f'{self.resource.qualified} "{name}" already exists'
            raise RefusalError(409, "AlreadyExists", message)
        if self.resource.has_status:
            one.pop("status", None)
        meta |= {
            "namespace": namespace,
            "name": name,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "generation": 1,
        }
        meta.pop("deletionTimestamp", None)
        one |= {"apiVersion": self.resource.api_version, "kind": self.resource.kind}
        return self._put("ADDED", one)

    def patch(
        self, namespace: str, name: str, content_type: str, patch: Any, *, subresource: str = ""
    ) -> Object:
        before = self.get(namespace, name)
        if content_type.startswith(JSON_PATCH):
            after = _json_patched(before, patch)
        elif content_type.startswith(MERGE_PATCH):
            after = _merged(before, patch)
        else:
            raise RefusalError(415, "UnsupportedMediaType", f"not served here: {content_type}")
        return self._replace(before, after, subresource)

    def put(self, namespace: str, name: str, body: Object, *, subresource: str = "") -> Object:
        before = self.get(namespace, name)
        if not body.get("metadata", {}).get("resourceVersion"):
            message = "metadata.resourceVersion: Invalid value: must be specified for an update"
            raise RefusalError(422, "Invalid", message)
        return self._replace(before, copy.deepcopy(body), subresource)

    def _replace(self, before: Object, after: Object, subresource: str) -> Object:
        old, new = before["metadata"], after.setdefault("metadata", {})
        if new.get("resourceVersion", old["resourceVersion"]) != old["resourceVersion"]:
            message = f"Operation cannot be fulfilled on {self.resource.qualified}: modified"
            raise RefusalError(409, "Conflict", message)
        # The path of the status takes no notice of any other metadata.
        if subresource != "status" and new.get("uid", old["uid"]) != old["uid"]:
            raise RefusalError(422, "Invalid", "metadata.uid: Invalid value: field is immutable")
        if subresource == "status":
            after = {**before, "status": after.get("status")}
        elif self.resource.has_status:
            after["status"] = before.get("status")
        after = {key: value for key, value in after.items() if value is not None}
        kept = {"uid", "resourceVersion", "creationTimestamp", "generation", "deletionTimestamp"}
        after["metadata"] = {**after["metadata"], **{k: old[k] for k in kept & old.keys()}}
        if after == before:
            return after
        plain = {"metadata", "status"} if self.resource.has_status else {"metadata"}
        if _without(after, plain) != _without(before, plain):
            after["metadata"]["generation"] = old["generation"] + 1
        if "deletionTimestamp" in old and not after["metadata"].get("finalizers"):
            return self._remove(after)
        return self._put("MODIFIED", after)

    def delete(self, namespace: str, name: str, options: Object | None = None) -> Object:
        one = self.get(namespace, name)
        for field_name, wanted in ((options or {}).get("preconditions") or {}).items():
            if one["metadata"][field_name] != wanted:
                message = f"Precondition failed: {field_name} differs"
                raise RefusalError(409, "Conflict", message)
        if one["metadata"].get("finalizers"):
            if "deletionTimestamp" in one["metadata"]:
                return one
            one["metadata"]["deletionTimestamp"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            one["metadata"]["generation"] += 1
            return self._put("MODIFIED", one)
        return self._remove(one)

    def _put(self, kind: str, one: Object) -> Object:
        meta = one["metadata"]
        meta["resourceVersion"] = str(self.clock.tick())
        self.objects[meta["namespace"], meta["name"]] = one
        self._happened(kind, one)
        return copy.deepcopy(one)

    def _remove(self, one: Object) -> Object:
        meta = one["metadata"]
        del self.objects[meta["namespace"], meta["name"]]
        meta["resourceVersion"] = str(self.clock.tick())
        self._happened("DELETED", one)
        return one

    def _happened(self, kind: str, one: Object) -> None:
        self.events.append(Event(self.clock.version, kind, copy.deepcopy(one)))
        self.changed.set()
        self.changed = asyncio.Event()


@dataclass
class Clock:
    """One counter for all kinds, as etcd has."""

    version: int = 100

    def tick(self) -> int:
        self.version += 1
        return self.version


# ---- patches and selectors ------------------------------------------------------------------


def _merged(base: Any, patch: Any) -> Any:
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    merged = dict(base) if isinstance(base, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


def _json_patched(base: Object, operations: list[Object]) -> Object:
    after = copy.deepcopy(base)
    for step in operations:
        *path, last = [
            part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]
        ]
        _apply(step, _parent(after, path), last)
    return after


def _parent(at: Any, path: list[str]) -> Any:
    for part in path:
        at = at[int(part)] if isinstance(at, list) else at.get(part)
        if at is None:
            raise RefusalError(422, "Invalid", f"the path to {part} does not exist")
    return at


def _apply(step: Object, parent: Any, last: str) -> None:
    is_list = isinstance(parent, list)
    here = parent[int(last)] if is_list and last != "-" else None if is_list else parent.get(last)
    match step["op"]:
        case "test" if here != step.get("value"):
            raise RefusalError(422, "Invalid", f"testing value {step['path']} failed")
        case "test":
            return
        case "remove" if is_list:
            del parent[int(last)]
        case "remove":
            if last not in parent:
                raise RefusalError(422, "Invalid", f"{step['path']} does not exist")
            del parent[last]
        case _ if is_list:
            parent.insert(len(parent) if last == "-" else int(last), step["value"])
        case _:
            parent[last] = step["value"]


def _without(one: Object, names: set[str]) -> Object:
    return {key: value for key, value in one.items() if key not in names}


def _selected(one: Object, labels: str, fields: str) -> bool:
    carried = one["metadata"].get("labels") or {}
    for term in filter(None, labels.split(",")):
        name, _, value = term.partition("=")
        if carried.get(name.rstrip("=")) != value.lstrip("="):
            return False
    for term in filter(None, fields.split(",")):
        path, _, value = term.partition("=")
        at: Any = one
        for part in path.split("."):
            at = at.get(part) if isinstance(at, Mapping) else None
        if (at or "") != value:
            return False
    return True
