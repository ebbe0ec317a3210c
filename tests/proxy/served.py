# SPDX-License-Identifier: Apache-2.0
"""The real application with parts that a test chooses, and each answer held against its schema."""

import functools
import json
import re
from collections.abc import Iterator

import jsonschema_rs
from aiohttp import web

from fodc_proxy.evidence.flows.readings import Readings
from fodc_proxy.fleet.registry import Registry
from fodc_proxy.http.edge import Edge, application
from fodc_proxy.http.openapi import document
from fodc_proxy.http.requests import new_request_id
from fodc_proxy.http.routes import Parts
from fodc_proxy.http.table import ROUTES
from fodc_proxy.storage.artifacts import ArtifactStore

NOW_MS = 1_800_000_000_000
DOCUMENT = json.loads(json.dumps(document(ROUTES, "test")))


class Unasked:
    """Views of a cluster that nobody looks at."""

    def samples(self) -> tuple[()]:
        return ()


def parts(**told: object) -> Parts:
    """Parts with what is told; a test that asks for a part it did not tell fails."""
    usual: dict[str, object] = {
        "version": "1.2.3",
        "incarnation": "i",
        "started_at_ms": 0,
        "clock_ms": lambda: NOW_MS,
        "registry": Registry(clock_ms=lambda: NOW_MS),
        "rounds": None,
        "views": Unasked(),
        "findings": None,
        "incidents": None,
        "configurations": None,
        "readings": Readings(),
        "engine": None,
        "store": ArtifactStore(None, clock_ms=lambda: NOW_MS),
        "unreadable_requests": tuple,
        "host_samples": list,
        "own_page": bytes,
        "checks": tuple,
        "new_request_id": new_request_id,
    }
    return Parts(**{**usual, **told})


def app_of(edge: Edge | None = None, **told: object) -> web.Application:
    """The application of all routes; every answer is checked before it leaves."""
    app = application(ROUTES, parts(**told), edge)
    app.middlewares.insert(0, checked)
    return app


@web.middleware
async def checked(request: web.Request, handler) -> web.StreamResponse:
    """Hold an answer that has its body in one piece against the document."""
    response = await handler(request)
    body = getattr(response, "body", None)
    if isinstance(body, bytes) and request.method != "HEAD":
        faults = list(faults_of(request.method, request.path, response, body))
        if faults:
            raise AssertionError(f"{request.method} {request.path}: {faults}")
    return response


def faults_of(method: str, path: str, response: web.StreamResponse, body: bytes) -> Iterator[str]:
    """Say in what an answer differs from the document."""
    operation = _operation(method, path)
    if not operation or response.status in {405, 426}:
        return
    told = DOCUMENT["paths"][operation][method.lower()]["responses"].get(str(response.status))
    if told is None:
        yield f"{response.status} is not documented"
        return
    content = told.get("content", {})
    if not body and not content:
        return
    if response.content_type not in content:
        yield f"{response.content_type} is not documented for {response.status}"
        return
    if response.content_type == "application/json":
        validator = _validator(operation, method.lower(), str(response.status))
        yield from (str(error) for error in validator.iter_errors(json.loads(body)))


@functools.cache
def _validator(path: str, method: str, status: str) -> jsonschema_rs.Validator:
    """Made once of a schema, which takes ten times as long as to hold an answer against it."""
    content = DOCUMENT["paths"][path][method]["responses"][status]["content"]
    schema = {**content["application/json"]["schema"], "components": DOCUMENT["components"]}
    return jsonschema_rs.validator_for(schema)


_PATHS = [
    (re.compile(re.sub(r"\{\w+\}", "[^/]+", template)), template) for template in DOCUMENT["paths"]
]


def _operation(method: str, path: str) -> str:
    """Return the path of the document, empty where it has no such operation."""
    for pattern, template in _PATHS:
        if pattern.fullmatch(path):
            return template if method.lower() in DOCUMENT["paths"][template] else ""
    return ""
