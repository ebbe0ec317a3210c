# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI 3.1 document at /openapi.json, made from the table of routes and their types.

The one idea: nothing of it is written by hand, so it cannot say anything else than what is sent.
"""

import re
from collections.abc import Iterable
from functools import cached_property
from typing import Final, TypeAlias

import msgspec
from aiohttp import web

from fodc_api.requests import PROFILE_SCHEMA
from fodc_api.words import Right
from fodc_protocol.profiles import Profile
from fodc_proxy.http.answers import JSON_TYPE
from fodc_proxy.http.guard import SESSION_COOKIE
from fodc_proxy.http.routes import Call, Media, NothingAsked, Parts, Route, Told

PATH: Final = "/openapi.json"
_IN_PATH: Final = re.compile(r"{(\w+)}")
_REF: Final = "#/components/schemas/{name}"
Schema: TypeAlias = dict[str, object]
_SCHEMES: Final = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of the tokens file, of the OIDC issuer or of the API server.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": SESSION_COOKIE,
        "description": "What POST /session sets; a change needs X-CSRF-Token too.",
    },
}


class Document:
    """The document of these routes, made when it is asked for first: few proxies ever are."""

    def __init__(self, table: Iterable[Route], version: str) -> None:
        self._table = tuple(table)
        self._version = version

    @cached_property
    def body(self) -> bytes:
        """JSON with a newline at its end."""
        return msgspec.json.encode(document(self._table, self._version)) + b"\n"


DOCUMENT: Final = web.AppKey("document", Document)


async def serve(_parts: Parts, call: Call[NothingAsked]) -> web.Response:
    """Answer the document, which is made once."""
    return web.Response(body=call.request.app[DOCUMENT].body, headers={"Content-Type": JSON_TYPE})


def document(table: Iterable[Route], version: str) -> Schema:
    """Return the document of these routes."""
    rows = tuple(table)
    types = list(dict.fromkeys(type_ for row in rows for type_ in _types(row)))
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    known = dict(zip(types, schemas, strict=True))
    components[Profile.__name__] = PROFILE_SCHEMA
    paths: dict[str, dict[str, Schema]] = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row, known, components)
        if row.allows_head:
            paths[row.path]["head"] = _head(row, known, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "FODC proxy",
            "version": version,
            "description": "First Occurrence Data Collection for Apache SkyWalking BanyanDB.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": components, "securitySchemes": _SCHEMES},
    }


def _types(row: Route) -> Iterable[type]:
    asked = (row.query, row.body)
    yield from (type_ for type_ in asked if type_ is not None)
    yield from (one.body for one in row.answers.values() if not isinstance(one.body, Media))


def _operation(row: Route, known: dict[type, Schema], components: Schema) -> Schema:
    operation: Schema = {
        "operationId": row.name,
        "summary": row.summary,
        "x-right": row.right,
        "security": [] if row.right is Right.ANYBODY else [{name: []} for name in _SCHEMES],
        "responses": {str(code): _response(one, known) for code, one in row.answers.items()},
    }
    if parameters := _parameters(row, known, components):
        operation["parameters"] = parameters
    if row.body is not None:
        body = {JSON_TYPE: {"schema": known[row.body]}}
        operation["requestBody"] = {"required": True, "content": body}
    return operation


def _head(row: Route, known: dict[type, Schema], components: Schema) -> Schema:
    """Return what HEAD is told to be: the same without a body."""
    told = {str(code): {"description": one.description} for code, one in row.answers.items()}
    head = _operation(row, known, components)
    return {**head, "operationId": f"{row.name}Headers", "responses": told}


def _response(one: Told, known: dict[type, Schema]) -> Schema:
    response: Schema = {"description": one.description}
    match one.body:
        case Media(types=()):
            pass
        case Media(types=types, is_binary=is_binary):
            schema = {"type": "string", **({"format": "binary"} if is_binary else {})}
            response["content"] = {kind: {"schema": schema} for kind in types}
        case type_:
            text = {"text/plain": {"schema": {"type": "string"}}} if one.or_text else {}
            response["content"] = {JSON_TYPE: {"schema": known[type_]}, **text}
    return response


def _parameters(row: Route, known: dict[type, Schema], components: Schema) -> list[Schema]:
    parameters: list[Schema] = []
    for name in _IN_PATH.findall(row.path):
        schema = {"type": "string", "minLength": 1}
        parameters.append({"name": name, "in": "path", "required": True, "schema": schema})
    if row.query is not None:
        parameters += _query(_resolved(known[row.query], components))
    for name in row.headers:
        parameters.append({"name": name, "in": "header", "schema": {"type": "string"}})
    return parameters


def _query(schema: Schema) -> list[Schema]:
    fields = schema.get("properties", {})
    assert isinstance(fields, dict)
    return [
        {"name": name, "in": "query", "schema": _given(field)} for name, field in fields.items()
    ]


def _given(field: Schema) -> Schema:
    """Return a field as it may be given: null is leaving it out."""
    options = field.get("anyOf")
    if not isinstance(options, list):
        return field
    kept = [one for one in options if one != {"type": "null"}]
    rest = {name: value for name, value in field.items() if name not in {"anyOf", "default"}}
    return {**rest, **kept[0]} if len(kept) == 1 else {**rest, "anyOf": kept}


def _resolved(schema: Schema, components: Schema) -> Schema:
    reference = str(schema.get("$ref", ""))
    found = components[reference.rpartition("/")[2]] if reference else schema
    assert isinstance(found, dict)
    return found
