# SPDX-License-Identifier: Apache-2.0
"""Reads bodies and queries into the Structs of the API, or says what is wrong with them.

The one idea: the types know what is accepted, so the sentence that names field, value and what is
allowed is made from them; nobody writes a checker or a message for each field.
"""

import json
import re
from collections.abc import Iterable
from functools import cache
from typing import Final, TypeVar

import msgspec
from msgspec import inspect

from fodc_api.values import DNS_LABEL, RuleError
from fodc_protocol.errors import FieldError, shown
from fodc_protocol.profiles import Profile

T = TypeVar("T", bound=msgspec.Struct)

_WHERE: Final = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?", re.DOTALL)
_NAMED: Final = re.compile(
    r"Object (?P<how>contains unknown|missing required) field `(?P<name>.*)`"
)
_STEP: Final = re.compile(r"\[(\d+)\]|([^.\[]+)")
_PATTERNS: Final = {DNS_LABEL: "must be 1 to 63 of a-z, 0-9 and '-' (a DNS label)"}


def read_body(data: bytes, kind: type[T]) -> T:
    """Return the Struct that a JSON body says; raises FieldError with the path of the wrong field.

    Refused are also fields that are not known or stand there twice, and texts that are no Unicode.
    """
    try:
        _refuse_what_json_lacks(data)
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise _told(error, json.loads(data), kind) from None
    except (msgspec.DecodeError, ValueError) as error:
        raise FieldError("body", f"is no JSON: {_broken(data, error)}") from None
    except RecursionError:
        raise FieldError("body", "is no JSON: nested too deeply") from None


def read_query(pairs: Iterable[tuple[str, str]], kind: type[T]) -> T:
    """Return the Struct that the parameters of a query say; raises FieldError.

    Of a parameter that stands there twice the first one counts where a kind passes over what it
    does not know, as in Go; everywhere else it is an error.
    """
    given: dict[str, str] = {}
    is_strict = kind.__struct_config__.forbid_unknown_fields
    for name, value in pairs:
        if is_strict and name in given:
            raise FieldError(_name(name), "is given more than once")
        given.setdefault(name, value)
    if is_strict:
        _refuse_unknown(given, kind)
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _told(error, given, kind) from None


def _refuse_unknown(given: Iterable[str], kind: type[msgspec.Struct]) -> None:
    known = kind.__struct_encode_fields__
    for name in given:
        if name not in known:
            accepted = ", ".join(known) or "none"
            raise FieldError(_name(name), f"is no parameter here; accepted: {accepted}")


def _refuse_what_json_lacks(data: bytes) -> None:
    def once(pairs: list[tuple[str, object]]) -> None:
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise FieldError(_name(name), "is given more than once")
            seen.add(name)

    def never(text: str) -> None:
        raise FieldError("body", f"is no JSON: {text} is no number of JSON")

    json.loads(data, object_pairs_hook=once, parse_constant=never)


def _broken(data: bytes, error: Exception) -> str:
    """Say it in the words of Python's parser, which knows lines; surrogates it does not mind."""
    try:
        json.loads(data)
    except ValueError as better:
        return str(better)
    return f"{error}; is there half of a \\u pair?" if b"\\u" in data else str(error)


def _name(name: str) -> str:
    return shown(name).strip("'\"")


# ---- from the library's words to ours -------------------------------------------------------


def _told(error: msgspec.ValidationError, raw: object, kind: type[msgspec.Struct]) -> FieldError:
    found = _WHERE.fullmatch(str(error))
    assert found is not None, "the pattern fits every text"
    path = found["path"] or ""
    if isinstance(error.__cause__, RuleError):
        return FieldError(_below(path, error.__cause__.field) or "body", error.__cause__.problem)
    type_ = _type_at(_info(kind), path)
    if named := _NAMED.fullmatch(found["what"]):
        return _about_field(named[1], named[2], path, type_)
    return FieldError(
        path or "body", f"{_accepted(type_)}, got {_got(_value_at(raw, path), type_)}"
    )


def _about_field(how: str, name: str, path: str, type_: inspect.Type) -> FieldError:
    assert isinstance(type_, inspect.StructType)
    if how == "missing required":
        wanted = _accepted(_type_at(type_, name))
        return FieldError(_below(path, name), f"is missing; it {wanted}")
    has = ", ".join(field.encode_name for field in type_.fields)
    return FieldError(_below(path, _name(name)), f"is unknown; has: {has}")


def _below(path: str, name: str) -> str:
    return ".".join(part for part in (path, name) if part)


@cache
def _info(kind: type[msgspec.Struct]) -> inspect.Type:
    return inspect.type_info(kind)


def _steps(path: str) -> list[int | str]:
    return [int(index) if index else name for index, name in _STEP.findall(path)]


def _value_at(raw: object, path: str) -> object:
    for step in _steps(path):
        raw = raw[step]  # type: ignore[index]  # the library walked the same way
    return raw


def _type_at(type_: inspect.Type, path: str) -> inspect.Type:
    for step in _steps(path):
        match _plain(type_):
            case inspect.StructType(fields=fields):
                type_ = next(field.type for field in fields if field.encode_name == step)
            case inspect.VarTupleType(item_type=item):
                type_ = item
            case other:
                return other
    return _plain(type_)


def _plain(type_: inspect.Type) -> inspect.Type:
    """Return the type without notes and without null."""
    match type_:
        case inspect.Metadata(type=inner):
            return _plain(inner)
        case inspect.UnionType(types=types):
            return _plain(next(t for t in types if not isinstance(t, inspect.NoneType)))
        case _:
            return type_


def _accepted(type_: inspect.Type) -> str:
    match type_:
        case inspect.IntType(ge=low, le=high):
            return f"must be a whole number from {low} to {high}"
        case inspect.FloatType():
            return "must be a number"
        case inspect.BoolType():
            return "must be true or false"
        case inspect.StrType(pattern=str(pattern)) if pattern in _PATTERNS:
            return _PATTERNS[pattern]
        case inspect.StrType(min_length=low, max_length=high):
            return f"must be a text of {f'{low} to' if low else 'at most'} {high} characters"
        case inspect.EnumType(cls=words):
            known = f"must be one of {', '.join(str(word.value) for word in words)}"
            return f"{known} or what a node's pprof index names" if words is Profile else known
        case inspect.LiteralType(values=values):
            return f"must be {' or '.join(str(value) for value in values)}"
        case inspect.VarTupleType(min_length=low, max_length=high):
            return f"must be a list of {low or 0} to {high} items"
        case _:
            return "must be an object"


def _got(value: object, type_: inspect.Type) -> str:
    wants_list = isinstance(type_, inspect.VarTupleType)
    return f"{len(value)} items" if wants_list and isinstance(value, list) else shown(value)
