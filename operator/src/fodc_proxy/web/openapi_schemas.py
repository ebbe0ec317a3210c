# SPDX-License-Identifier: Apache-2.0
"""Schemas of the OpenAPI document: what our JSON bodies look like.

The one idea: data, written by hand; the tests hold real answers against it.
"""

from typing import Final, TypeAlias

from fodc_protocol.errors import Reason
from fodc_protocol.profiles import Profile
from fodc_proxy.diagnostics.model import FailurePolicy, Phase, RequestPhase

Schema: TypeAlias = dict[str, object]

TEXT: Final[Schema] = {"type": "string"}
FLAG: Final[Schema] = {"type": "boolean"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
SECONDS: Final[Schema] = {"type": "number", "minimum": 0}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}
DNS_LABEL: Final = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"


def ref(name: str) -> Schema:
    """Refer to a schema of this document."""
    return {"$ref": f"#/components/schemas/{name}"}


def array(items: Schema, **limits: int) -> Schema:
    """A list."""
    return {"type": "array", "items": items, **limits}


def nullable(schema: Schema) -> Schema:
    """A value or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def closed(required: dict[str, Schema], **optional: Schema) -> Schema:
    """An object with these fields and no others."""
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def opened(required: dict[str, Schema]) -> Schema:
    """An object that has at least these fields."""
    return {"type": "object", "properties": required, "required": list(required)}


def words(kind: type[Phase | RequestPhase | FailurePolicy | Profile]) -> Schema:
    """One of the words of an enumeration."""
    return {"type": "string", "enum": [str(word) for word in kind]}


def whole(low: int, high: int, default: int) -> Schema:
    """A whole number within limits; null stands for the default."""
    return {"type": "integer", "minimum": low, "maximum": high, "default": default}


# ---- what is asked --------------------------------------------------------------------------


def _names(*kinds: Profile) -> Schema:
    """The words that a request may use for these kinds."""
    words = [word for kind in kinds for word in (str(kind), kind.facts.crd_type)]
    return {"type": "string", "enum": [*words, "profile"] if Profile.CPU in kinds else words}


def _timed(high: int, *kinds: Profile) -> Schema:
    duration: Schema = {"type": "number", "minimum": 1, "maximum": high}
    no_gc: Schema = {"type": "boolean", "enum": [False]}
    return closed({"profile": _names(*kinds)}, duration_seconds=duration, gc=no_gc)


_CAPTURE_ASKED: Final[Schema] = {
    "oneOf": [
        _timed(120, Profile.CPU, Profile.BLOCK, Profile.MUTEX),
        _timed(30, Profile.TRACE),
        closed({"profile": _names(Profile.HEAP)}, gc=FLAG),
        closed(
            {"profile": _names(Profile.ALLOCS, Profile.GOROUTINE, Profile.THREADCREATE)},
            gc={"type": "boolean", "enum": [False]},
        ),
    ],
    "description": "Seconds are for timed kinds; gc collects garbage before a heap profile.",
}


def _chosen(first: str) -> Schema:
    """A target that says at least this."""
    lists: dict[str, Schema] = {
        "names": array({"type": "string", "minLength": 1, "maxLength": 253}, maxItems=256),
        "roles": array({"type": "string", "minLength": 1, "maxLength": 63}, maxItems=16),
        "tiers": array({"type": "string", "minLength": 1, "maxLength": 63}, maxItems=16),
        "all": {"type": "boolean", "enum": [False]},
        "include_offline": FLAG,
    }
    lists[first] = {**lists[first], "minItems": 1}
    return {**closed({first: lists.pop(first)}, **lists)}


_TARGET_ASKED: Final[Schema] = {
    "anyOf": [
        _chosen("names"),
        _chosen("roles"),
        _chosen("tiers"),
        closed(
            {"all": {"type": "boolean", "enum": [True]}},
            include_offline=FLAG,
            **dict.fromkeys(("names", "roles", "tiers"), array(TEXT, maxItems=0)),
        ),
    ],
    "description": "AND between the fields, OR inside each; all excludes names, roles and tiers. "
    "An empty target is an error.",
}

_EXECUTION: Final[dict[str, Schema]] = {
    "parallelism": whole(1, 16, 4),
    "start_deadline_seconds": whole(1, 3600, 300),
    "active_deadline_seconds": whole(1, 7200, 900),
    "target_timeout_slack_seconds": whole(1, 600, 30),
    "backoff_limit": whole(0, 3, 1),
    "failure_policy": words(FailurePolicy),
}

# ---- what is answered -----------------------------------------------------------------------

_RESULT: Final[Schema] = closed(
    {
        "capture": TEXT,
        "profile": words(Profile),
        "phase": words(Phase),
        "reason": TEXT,
        "message": TEXT,
        "duration_seconds": SECONDS,
        "elapsed_seconds": SECONDS,
        "received_bytes": COUNT,
        "size_bytes": nullable(COUNT),
        "sha256": nullable(TEXT),
        "samples": nullable(COUNT),
        "format": nullable(TEXT),
        "artifact_id": nullable(TEXT),
        "download_path": nullable(TEXT),
        "empty": FLAG,
        "truncated": FLAG,
        "warnings": array(TEXT),
    }
)

_TARGET: Final[Schema] = closed(
    {
        "node_id": TEXT,
        "namespace": nullable(TEXT),
        "agent_id": TEXT,
        "role": TEXT,
        "phase": words(Phase),
        "reason": TEXT,
        "message": TEXT,
        "attempts": COUNT,
        "started_at": nullable(TIME),
        "finished_at": nullable(TIME),
        "results": array(ref("DiagnosticResult")),
    }
)

_COUNTS: Final[Schema] = closed(
    dict.fromkeys(
        ("targets", "pending", "running", "succeeded", "failed", "skipped", "cancelled"), COUNT
    )
)

_CAPTURE: Final[Schema] = closed(
    {"profile": words(Profile), "duration_seconds": nullable(SECONDS), "gc": FLAG}
)

_SUMMARY_FIELDS: Final[dict[str, Schema]] = {
    "id": TEXT,
    "revision": COUNT,
    "phase": words(RequestPhase),
    "reason": TEXT,
    "message": TEXT,
    "created_at": TIME,
    "started_at": nullable(TIME),
    "finished_at": nullable(TIME),
    "target": ref("DiagnosticTargetSelector"),
    "captures": array(_CAPTURE),
    "execution": closed(_EXECUTION),
    "requested_reason": TEXT,
    "cancel": nullable({"type": "string", "enum": ["stop", "abort"]}),
    "counts": _COUNTS,
    "progress": {"type": "string", "pattern": "^[0-9]+/[0-9]+$"},
}

_ARTIFACT: Final[Schema] = closed(
    {
        "artifact_id": TEXT,
        "request_id": TEXT,
        "command_id": TEXT,
        "node_id": TEXT,
        "pod_name": TEXT,
        "namespace": nullable(TEXT),
        "role": TEXT,
        "profile": TEXT,
        "format": TEXT,
        "size_bytes": COUNT,
        "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "samples": nullable(COUNT),
        "started_at": TIME,
        "finished_at": TIME,
        "created_at": TIME,
        "duration_seconds": SECONDS,
        "empty": FLAG,
        "truncated": FLAG,
        "warnings": array(TEXT),
        "agent_version": TEXT,
        "file_name": TEXT,
        "download_path": TEXT,
    }
)

_CONDITION: Final[Schema] = closed({"type": TEXT, "reason": TEXT, "message": TEXT})

_NODE_CONFIGURATION: Final[Schema] = closed(
    {
        "node_id": TEXT,
        "role": TEXT,
        "hash": TEXT,
        "epoch": COUNT,
        "collected_at": TIME,
        "age_seconds": SECONDS,
        "stale": FLAG,
        "entries": array(closed({"name": TEXT, "value": TEXT, "source": TEXT, "redacted": FLAG})),
        "conditions": array(_CONDITION),
    }
)

_ROLE_DIFFERENCES: Final[Schema] = closed(
    {
        "role": TEXT,
        "nodes": array(TEXT),
        "stale_nodes": array(TEXT),
        "differences": array(
            closed(
                {
                    "name": TEXT,
                    "kind": {"type": "string", "enum": ["drift", "identity"]},
                    "has_majority": FLAG,
                    "majority": nullable(TEXT),
                    "values": array(closed({"value": nullable(TEXT), "nodes": array(TEXT)})),
                }
            )
        ),
    }
)

_CONFIGURATIONS: Final[Schema] = {
    **closed(
        {
            "generated_at": TIME,
            "asked": COUNT,
            "answered": COUNT,
            "missing": array(closed({"node_id": TEXT, "reason": TEXT, "message": TEXT})),
        },
        nodes=array(_NODE_CONFIGURATION),
        roles=array(_ROLE_DIFFERENCES),
    ),
    "description": "Has nodes, or with diff=role roles instead.",
}

_NODE: Final[Schema] = opened(
    {
        "node_id": TEXT,
        "agent_id": TEXT,
        "pod_name": TEXT,
        "role": TEXT,
        "tier": TEXT,
        "phase": {"type": "string", "enum": ["Online", "Degraded", "Offline"]},
        "contract": {"type": "string", "enum": ["link", "fodc"]},
        "labels": {"type": "object", "additionalProperties": TEXT},
        "capabilities": array(opened({"kind": TEXT, "state": TEXT})),
        "conditions": array(_CONDITION),
    }
)

_ERROR: Final[Schema] = closed(
    {
        "error": closed(
            {
                "reason": {"type": "string", "examples": [str(Reason.BAD_REQUEST)]},
                "message": TEXT,
            },
            field={"type": "string", "description": "Path of the input that is wrong."},
        )
    }
)

SCHEMAS: Final[dict[str, Schema]] = {
    "Error": _ERROR,
    "DiagnosticTargetSelector": _TARGET_ASKED,
    "DiagnosticRequestSpec": {
        **closed(
            {"target": ref("DiagnosticTargetSelector")},
            id={"type": "string", "pattern": DNS_LABEL, "description": "Makes repeats harmless."},
            captures=array(_CAPTURE_ASKED, minItems=1, maxItems=8),
            execution=closed({}, **_EXECUTION),
            reason={"type": "string", "maxLength": 256},
        ),
        "required": ["target", "captures"],
    },
    "DiagnosticRequestSummary": closed(_SUMMARY_FIELDS),
    "DiagnosticRequest": closed({**_SUMMARY_FIELDS, "targets": array(ref("DiagnosticTarget"))}),
    "DiagnosticTarget": _TARGET,
    "DiagnosticResult": _RESULT,
    "Artifact": _ARTIFACT,
    "Configurations": _CONFIGURATIONS,
    "Node": _NODE,
    "Cluster": opened(
        {
            "generated_at": TIME,
            "proxy": opened({"version": TEXT, "incarnation": TEXT, "uptime_seconds": SECONDS}),
            "summary": opened({"total": COUNT, "online": COUNT, "offline": COUNT}),
            "nodes": array(ref("Node")),
        }
    ),
    "Readiness": opened(
        {"ready": FLAG, "checks": array(opened({"name": TEXT, "ok": FLAG, "message": TEXT}))}
    ),
    "WindowSeries": opened(
        {
            "name": TEXT,
            "labels": {"type": "object", "additionalProperties": TEXT},
            "data": array(opened({"timestamp": TIME})),
        }
    ),
}
