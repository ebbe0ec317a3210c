# SPDX-License-Identifier: Apache-2.0
"""Requests as stored JSON, and back.

The one idea: one walk over the declared types writes and reads every class of the model, and
reading is strict: a record that does not fit is refused with the path of what does not.
"""

import dataclasses
import json
import types
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from fodc_protocol.errors import FodcError, Reason
from fodc_proxy.diagnostics.model import Request

VERSION = 1

T = TypeVar("T")


class RecordError(FodcError):
    """A stored record is damaged or of another version."""

    default_reason = Reason.STORAGE_FAILED


def dump_request(request: Request) -> bytes:
    """Write a request as UTF-8 JSON."""
    document = {"version": VERSION, "request": _plain(request)}
    return json.dumps(document, separators=(",", ":")).encode()


def load_request(data: bytes) -> Request:
    """Read what `dump_request` wrote; raises RecordError."""
    try:
        document = json.loads(data)
    except ValueError as error:
        raise RecordError(f"record is no JSON: {error}") from None
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise RecordError(f"record is not of version {VERSION}")
    request: Request = _read(Request, document.get("request"), "request")
    return request


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, StrEnum) else value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


# The kinds are types of our own model; what they make of foreign data is checked leaf by leaf.
def _read(kind: Any, data: object, path: str) -> Any:  # noqa: ANN401 - types of our own model
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        (some,) = (option for option in get_args(kind) if option is not type(None))
        return None if data is None else _read(some, data, path)
    if origin is tuple:
        if not isinstance(data, list):
            raise RecordError(f"{path} is no list")
        return tuple(
            _read(get_args(kind)[0], item, f"{path}[{at}]") for at, item in enumerate(data)
        )
    if dataclasses.is_dataclass(kind):
        return _read_class(kind, data, path)
    if issubclass(kind, StrEnum):
        return _read_word(kind, data, path)
    if kind is float and type(data) is int:
        return float(data)
    if type(data) is not kind:
        raise RecordError(f"{path} is no {kind.__name__}")
    return data


def _read_class(kind: Any, data: object, path: str) -> Any:  # noqa: ANN401 - types of our own model
    hints = _hints(kind)
    if not isinstance(data, Mapping) or not _required(kind) <= set(data) <= set(hints):
        raise RecordError(f"{path} does not have the fields of a {kind.__name__}")
    return kind(**{name: _read(hints[name], data[name], f"{path}.{name}") for name in data})


@cache
def _required(kind: Any) -> frozenset[str]:  # noqa: ANN401 - types of our own model
    """Fields without a default: those with one may be younger than the record."""
    none = dataclasses.MISSING
    return frozenset(
        item.name
        for item in dataclasses.fields(kind)
        if item.default is none and item.default_factory is none
    )


def _read_word(kind: type[StrEnum], data: object, path: str) -> StrEnum:
    if not isinstance(data, str) or data not in list(kind):
        raise RecordError(f"{path} is no {kind.__name__}")
    return kind(data)
