# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI 3.1 document of everything that the proxy serves, at /openapi.json.

The one idea: paths are data written by hand, and the document shows those that this process really
serves, so it never promises a route that is not there.
"""

from collections.abc import Iterable
from typing import Final

from aiohttp import web

from fodc_proxy.diagnostics.model import RequestPhase
from fodc_proxy.web.answers import json_answer
from fodc_proxy.web.openapi_schemas import (
    COUNT,
    DNS_LABEL,
    SCHEMAS,
    TEXT,
    TIME,
    Schema,
    array,
    opened,
    ref,
    words,
)

PATH: Final = "/openapi.json"
_ERRORS: Final = {
    400: "A field, parameter or header is wrong; the error names it.",
    404: "There is no such thing.",
    409: "The id is taken by a request that asks for something else.",
    413: "The body is too large.",
    416: "The artifact has no such bytes.",
    500: "The proxy failed.",
    503: "Too much is asked at once, or the artifact store does not work.",
}
_METRICS_TEXT: Final = "text/plain"


# ---- pieces ---------------------------------------------------------------------------------


def _json(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _errors(*statuses: int) -> dict[str, Schema]:
    return {str(status): _json(_ERRORS[status], ref("Error")) for status in statuses}


def _plain(description: str) -> Schema:
    return {"description": description, "content": {_METRICS_TEXT: {"schema": TEXT}}}


def _query(name: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _path(name: str, description: str, schema: Schema = TEXT) -> Schema:
    told = {"name": name, "in": "path", "required": True}
    return {**told, "schema": schema, "description": description}


def _operation(
    operation_id: str,
    summary: str,
    responses: dict[str, Schema],
    *,
    parameters: Iterable[Schema] = (),
    body: Schema | None = None,
) -> Schema:
    operation: Schema = {"operationId": operation_id, "summary": summary, "responses": responses}
    if given := list(parameters):
        operation["parameters"] = given
    if body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": body}},
        }
    return operation


_NODE_ID: Final = _query("node_id", TEXT, "Pod name, namespace/pod or agent id.")
_ROLE: Final = _query("role", TEXT, "Role of the node.")
_POD: Final = _query("pod_name", TEXT, "Pod name of the node, or namespace/pod.")
_REQUEST_ID: Final = _path("id", "Id of the request.", {"type": "string", "pattern": DNS_LABEL})
_ARTIFACT_ID: Final = _path("id", "Id of the artifact.", {"type": "string", "minLength": 1})

# ---- existing routes --------------------------------------------------------------------------

_EXISTING: Final[dict[str, Schema]] = {
    "/metrics": {
        "get": _operation(
            "metrics",
            "Latest values of all nodes in text exposition format",
            {"200": _plain("The page."), "500": _plain("Nothing could be collected.")},
            parameters=[_ROLE, _POD],
        )
    },
    "/metrics-windows": {
        "get": _operation(
            "metricsWindows",
            "Values over time from the flight recorders",
            {
                "200": _json("Series with their points.", array(ref("WindowSeries"))),
                "400": _plain("A time is not RFC 3339."),
                "500": _plain("Nothing could be collected."),
            },
            parameters=[
                _query("start_time", TIME, "RFC 3339; used when both times are given."),
                _query("end_time", TIME, "RFC 3339; used when both times are given."),
                _ROLE,
                _POD,
            ],
        )
    },
    "/health": {
        "get": _operation(
            "health",
            "Counts of agents",
            {
                "200": _json(
                    "Always.",
                    opened(
                        {
                            "status": TEXT,
                            "agents_online": COUNT,
                            "agents_total": COUNT,
                            "uptime_seconds": COUNT,
                        }
                    ),
                )
            },
        )
    },
    "/cluster/topology": {
        "get": _operation(
            "topology",
            "Nodes and calls between them",
            {
                "200": _json("The graph.", opened({"nodes": array({}), "calls": array({})})),
                "503": _plain("Not available."),
            },
        )
    },
    "/cluster/lifecycle": {
        "get": _operation(
            "lifecycle",
            "Groups and their data lifecycle",
            {"200": _json("Groups.", {"type": "object"}), "503": _plain("Not available.")},
        )
    },
    "/diagnostics": {
        "get": _operation(
            "crashes",
            "Crash records of the nodes",
            {"200": _json("Records.", array({})), "503": _plain("Not available.")},
            parameters=[_ROLE, _POD],
        )
    },
    "/pressure-profiles": {
        "get": _operation(
            "pressureProfiles",
            "Profiles that agents took under memory pressure",
            {"200": _json("Profiles.", array({})), "503": _plain("Not available.")},
            parameters=[_ROLE, _POD],
        )
    },
}

# ---- our routes ---------------------------------------------------------------------------------

_PROXY: Final[dict[str, Schema]] = {
    "/healthz": {
        "get": _operation("alive", "The process is alive", {"200": {"description": "It is."}})
    },
    "/readyz": {
        "get": _operation(
            "ready",
            "Every part of the proxy works",
            {
                "200": _json("All checks pass.", ref("Readiness")),
                "503": _json("A check fails.", ref("Readiness")),
            },
        )
    },
    "/version": {
        "get": _operation(
            "version", "Version of the proxy", {"200": _json("It.", opened({"version": TEXT}))}
        )
    },
    PATH: {
        "get": _operation(
            "openapi", "This document", {"200": _json("OpenAPI 3.1.", {"type": "object"})}
        )
    },
    "/cluster": {
        "get": _operation(
            "cluster",
            "The fleet",
            {"200": _json("Nodes.", ref("Cluster")), **_errors(400, 404)},
            parameters=[_ROLE, _NODE_ID],
        )
    },
    "/cluster/config": {
        "get": _operation(
            "configuration",
            "Effective configuration of the nodes, or its drift inside each role",
            {"200": _json("Configurations.", ref("Configurations")), **_errors(400, 404)},
            parameters=[
                _NODE_ID,
                _ROLE,
                _query("diff", {"type": "string", "enum": ["role"]}, "Compare nodes of a role."),
            ],
        )
    },
}

_REQUESTS: Final[dict[str, Schema]] = {
    "/diagnostics/requests": {
        "post": _operation(
            "createDiagnosticRequest",
            "Capture profiles on nodes",
            {
                "201": _json("Taken in.", ref("DiagnosticRequest")),
                "200": _json("An equal one of this id is there.", ref("DiagnosticRequest")),
                **_errors(400, 409, 413, 503),
            },
            body=ref("DiagnosticRequestSpec"),
        ),
        "get": _operation(
            "listDiagnosticRequests",
            "Requests, the newest first, without their targets",
            {
                "200": _json(
                    "Requests.", opened({"requests": array(ref("DiagnosticRequestSummary"))})
                ),
                **_errors(400),
            },
            parameters=[_query("phase", words(RequestPhase), "Only this phase."), _NODE_ID],
        ),
    },
    "/diagnostics/requests/{id}": {
        "get": _operation(
            "readDiagnosticRequest",
            "One request; waits for a change when asked to",
            {"200": _json("It.", ref("DiagnosticRequest")), **_errors(400, 404, 503)},
            parameters=[
                _REQUEST_ID,
                _query(
                    "wait_seconds",
                    {"type": "integer", "minimum": 0, "maximum": 30},
                    "Wait so long for a revision beyond after_revision.",
                ),
                _query(
                    "after_revision",
                    {"type": "integer", "minimum": 0, "maximum": 10**15},
                    "The revision that the caller has.",
                ),
            ],
        ),
        "delete": _operation(
            "cancelDiagnosticRequest",
            "End a request early",
            {
                "202": _json("It ends.", ref("DiagnosticRequest")),
                "200": _json("It had ended.", ref("DiagnosticRequest")),
                **_errors(400, 404),
            },
            parameters=[
                _REQUEST_ID,
                _query(
                    "mode",
                    {"type": "string", "enum": ["stop", "abort"], "default": "abort"},
                    "stop keeps what there is, abort discards what is not complete.",
                ),
            ],
        ),
    },
}

_BYTES: Final[Schema] = {
    "description": "The bytes; ETag and Repr-Digest are those of the whole artifact.",
    "content": {
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        "application/gzip": {"schema": {"type": "string", "format": "binary"}},
    },
}

_ARTIFACTS: Final[dict[str, Schema]] = {
    "/artifacts": {
        "get": _operation(
            "listArtifacts",
            "Artifacts, the newest first",
            {
                "200": _json("Manifests.", opened({"artifacts": array(ref("Artifact"))})),
                **_errors(400),
            },
            parameters=[
                _NODE_ID,
                _query("request_id", TEXT, "Only those of this request."),
                _query("profile", TEXT, "Only this kind of profile."),
            ],
        )
    },
    "/artifacts/{id}": {
        "get": _operation(
            "downloadArtifact",
            "The bytes of an artifact, whole or a range",
            {
                "200": _BYTES,
                "206": _BYTES,
                "304": {"description": "The caller has it."},
                **_errors(400, 404, 416, 503),
            },
            parameters=[
                _ARTIFACT_ID,
                {"name": "Range", "in": "header", "schema": TEXT, "description": "bytes=0-99"},
            ],
        ),
        "head": _operation(
            "describeDownload",
            "The headers of a download",
            {
                "200": {"description": "Headers only."},
                "206": {"description": "Headers only."},
                "304": {"description": "The caller has it."},
                "400": {"description": _ERRORS[400]},
                "404": {"description": _ERRORS[404]},
                "416": {"description": _ERRORS[416]},
            },
            parameters=[_ARTIFACT_ID],
        ),
        "delete": _operation(
            "removeArtifact",
            "Remove an artifact",
            {"204": {"description": "It is gone."}, **_errors(400, 404, 503)},
            parameters=[_ARTIFACT_ID],
        ),
    },
    "/artifacts/{id}/manifest": {
        "get": _operation(
            "readManifest",
            "What is known about an artifact",
            {"200": _json("Manifest.", ref("Artifact")), **_errors(400, 404)},
            parameters=[_ARTIFACT_ID],
        )
    },
}

PATHS: Final[dict[str, Schema]] = {**_EXISTING, **_PROXY, **_REQUESTS, **_ARTIFACTS}


# ---- the document -------------------------------------------------------------------------------


def document(served: Iterable[str], version: str) -> Schema:
    """The document of these paths."""
    paths = {path: PATHS[path] for path in sorted(served) if path in PATHS}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "FODC proxy",
            "version": version,
            "description": "First Occurrence Data Collection for Apache SkyWalking BanyanDB.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": SCHEMAS},
    }


def served_paths(app: web.Application) -> tuple[str, ...]:
    """Paths of an application, with parameters in braces."""
    return tuple(sorted({resource.canonical for resource in app.router.resources()}))


def undocumented(app: web.Application) -> tuple[str, ...]:
    """Paths that are served and missing in the document; a test keeps this empty."""
    return tuple(path for path in served_paths(app) if path not in PATHS)


def routes(version: str) -> list[web.RouteDef]:
    """Return the route of the document."""

    async def read(request: web.Request) -> web.StreamResponse:
        return json_answer(document(served_paths(request.app), version))

    return [web.get(PATH, read, allow_head=False)]
