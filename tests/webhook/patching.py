# SPDX-License-Identifier: Apache-2.0
"""Applies a JSON patch as RFC 6902 says, written apart from what makes one."""

import copy
import json
from typing import Any


def applied(operations: list[dict[str, Any]], document: Any) -> Any:
    """The document after the operations; what does not fit raises KeyError or IndexError."""
    # As it comes over the wire: a copy would keep one object that stands in two places.
    result = json.loads(json.dumps(document))
    for one in operations:
        result = _after(one, result)
    return result


def _after(operation: dict[str, Any], document: Any) -> Any:
    *way, last = [_plain(part) for part in operation["path"].split("/")]
    if not way:
        assert operation["op"] == "replace"
        return copy.deepcopy(operation["value"])
    place = document
    for part in way[1:]:
        place = place[_key(place, part)]
    if operation["op"] == "add":
        _add(place, last, copy.deepcopy(operation["value"]))
    elif operation["op"] == "remove":
        del place[_key(place, last)]
    else:
        assert operation["op"] == "replace"
        key = _key(place, last)
        place[key]  # must be there
        place[key] = copy.deepcopy(operation["value"])
    return document


def _add(place: Any, last: str, value: Any) -> None:
    if isinstance(place, list):
        at = len(place) if last == "-" else int(last)
        if at > len(place):
            raise IndexError(last)
        place.insert(at, value)
    else:
        place[last] = value


def _key(place: Any, part: str) -> Any:
    return int(part) if isinstance(place, list) else part


def _plain(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")
