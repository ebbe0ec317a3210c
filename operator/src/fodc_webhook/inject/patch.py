# SPDX-License-Identifier: Apache-2.0
"""The difference of two JSON documents as a JSON patch (RFC 6902).

The one idea: lists are compared place by place, so what is added at the end is one `add`, and the
answer of the webhook stays as small as what the injection does.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

Operation: TypeAlias = dict[str, Any]
"""`op` add, replace or remove; `path`; and `value` unless it is a removal."""


def json_patch(before: object, after: object) -> list[Operation]:
    """Return the operations that make `after` of `before`; none when they are the same."""
    return list(_changes("", before, after))


def _changes(path: str, before: object, after: object) -> Iterator[Operation]:
    if before is after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        yield from _in_objects(path, before, after)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _in_lists(path, before, after)
    elif not _same(before, after):
        yield {"op": "replace", "path": path, "value": after}


def _in_objects(
    path: str, before: Mapping[str, object], after: Mapping[str, object]
) -> Iterator[Operation]:
    for name in before:
        if name not in after:
            yield {"op": "remove", "path": f"{path}/{_escaped(name)}"}
    for name, value in after.items():
        place = f"{path}/{_escaped(name)}"
        if name in before:
            yield from _changes(place, before[name], value)
        else:
            yield {"op": "add", "path": place, "value": value}


def _in_lists(path: str, before: list[object], after: list[object]) -> Iterator[Operation]:
    for at, (old, new) in enumerate(zip(before, after, strict=False)):
        yield from _changes(f"{path}/{at}", old, new)
    for at in range(len(before) - 1, len(after) - 1, -1):
        yield {"op": "remove", "path": f"{path}/{at}"}
    for value in after[len(before) :]:
        yield {"op": "add", "path": f"{path}/-", "value": value}


def _same(before: object, after: object) -> bool:
    """Whether two plain values are one in JSON, where true is not 1."""
    return type(before) is type(after) and before == after


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
