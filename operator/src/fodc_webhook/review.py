# SPDX-License-Identifier: Apache-2.0
"""AdmissionReview v1: what the API server asks about, and what it is answered.

The one idea: there is an answer for everything that can come, also for what is no review at all:
the object may be created.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

import msgspec

from fodc_webhook.kinds import CANCELLED_BY, DIAGNOSTIC_REQUEST

REVIEW_VERSION: Final = "admission.k8s.io/v1"
REVIEW_KIND: Final = "AdmissionReview"
MOST_WARNINGS: Final = 4
WARNING_LENGTH: Final = 256
"""Longer ones are cut by the API server, or all are left out."""
_UID: Final = re.compile(rb'"request"\s*:\s*\{\s*"uid"\s*:\s*"([-0-9a-zA-Z]{1,64})"')
_START_BYTES: Final = 1024
UNSEEN_POD: Final = "no agent was put into this pod"


class ReviewError(Exception):
    """What came is no review that we can read; `uid` is what could be found of it."""

    def __init__(self, message: str, uid: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.uid = uid


@dataclass(frozen=True, slots=True)
class Review:
    """A pod that is about to be created."""

    uid: str
    namespace: str
    pod: Mapping[str, Any]
    is_dry_run: bool

    @property
    def name(self) -> str:
        """How the pod is or will be called; a star stands for what the server adds."""
        metadata = self.pod.get("metadata")
        known = metadata if isinstance(metadata, dict) else {}
        return str(known.get("name") or f"{known.get('generateName', '')}*")

    def __str__(self) -> str:
        return f"pod {self.name}"

    @property
    def unseen(self) -> str:
        """What letting it in unseen means."""
        return UNSEEN_POD


class Operation(StrEnum):
    """What somebody is about to do to an object, in the words of the API server."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


@dataclass(frozen=True, slots=True)
class Asking:
    """A DiagnosticRequest that is created, changed or deleted; `user` is who, as the server knows.

    `cancel` is how it is to end early, `…_before` what was there; empty for nothing.
    """

    uid: str
    namespace: str
    name: str
    user: str
    is_dry_run: bool
    annotations: Mapping[str, Any] | None = field(default=None, repr=False)
    """None where the object has no such field."""
    operation: Operation = Operation.CREATE
    cancel: str = ""
    cancel_before: str = ""
    cancelled_by_before: str = ""

    def __str__(self) -> str:
        return f"{DIAGNOSTIC_REQUEST.kind} {self.name}"

    @property
    def unseen(self) -> str:
        """What letting it in unseen means."""
        return "nobody wrote down who asks for this"


Reviewed: TypeAlias = Review | Asking
_KNOWN: Final = frozenset(Operation)


def read_review(whole: Mapping[str, Any], uid: str = "") -> Reviewed | None:
    """Read a review; None for one that is not about a new pod, or not about a request.

    Raises ReviewError.
    """
    request = whole.get("request")
    if not isinstance(request, dict):
        raise ReviewError("the body is no AdmissionReview with a request", uid)
    uid = str(request.get("uid", ""))
    if whole.get("apiVersion") != REVIEW_VERSION or not uid:
        raise ReviewError(f"the AdmissionReview is of {whole.get('apiVersion')!s:.40}, not v1", uid)
    operation = _text(request, "operation")
    if request.get("subResource"):
        return None
    kind = _child(request, "kind")
    about = _text(kind, "group"), _text(kind, "kind")
    if about == (DIAGNOSTIC_REQUEST.group, DIAGNOSTIC_REQUEST.kind):
        return _of_request(uid, Operation(operation), request) if operation in _KNOWN else None
    is_new_pod = operation == Operation.CREATE and about == ("", "Pod")
    return _of_pod(uid, request) if is_new_pod else None


def _of_pod(uid: str, request: Mapping[str, Any]) -> Review:
    pod, namespace = request.get("object"), request.get("namespace")
    if not isinstance(pod, dict) or not isinstance(namespace, str) or not namespace:
        raise ReviewError("the AdmissionReview has no pod, or no namespace", uid)
    return Review(uid, namespace, pod, is_dry_run=request.get("dryRun") is True)


def _of_request(uid: str, operation: Operation, request: Mapping[str, Any]) -> Asking:
    before = _child(request, "oldObject")
    whole = before if operation is Operation.DELETE else _child(request, "object")
    metadata = _child(whole, "metadata")
    user, namespace = _child(request, "userInfo").get("username"), request.get("namespace")
    if not isinstance(user, str) or not user or not isinstance(namespace, str) or not namespace:
        raise ReviewError("the AdmissionReview has no user, or no namespace", uid)
    known = metadata.get("annotations")
    return Asking(
        uid,
        namespace,
        str(metadata.get("name") or f"{metadata.get('generateName', '')}*"),
        user,
        request.get("dryRun") is True,
        known if isinstance(known, dict) else None,
        operation,
        _text(_child(whole, "spec"), "cancel"),
        _text(_child(before, "spec"), "cancel"),
        _text(_child(_child(before, "metadata"), "annotations"), CANCELLED_BY),
    )


def _text(data: Mapping[str, Any], name: str) -> str:
    found = data.get(name)
    return found if isinstance(found, str) else ""


def _child(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = data.get(name)
    return found if isinstance(found, dict) else {}


def uid_in(start: bytes | bytearray) -> str:
    """Find the uid in the start of a review that cannot be read as a whole; empty for none."""
    found = _UID.search(start[:_START_BYTES])
    return found.group(1).decode("ascii") if found else ""


def answer(uid: str, *, warnings: Sequence[str] = ()) -> bytes:
    """Write the answer that lets an object in as it came."""
    response: dict[str, Any] = {"uid": uid, "allowed": True}
    told = [warning(one) for one in warnings if one][:MOST_WARNINGS]
    if told:
        response["warnings"] = told
    head = {"apiVersion": REVIEW_VERSION, "kind": REVIEW_KIND}
    return msgspec.json.encode({**head, "response": response})


def encoded_patch(steps: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the fields of a response by which the object is changed."""
    patch = base64.b64encode(msgspec.json.encode(steps))
    return {"patchType": "JSONPatch", "patch": patch.decode("ascii")}


def warning(text: str) -> str:
    """Return it as one line, since it becomes a header."""
    line = " ".join(text.split())
    return line if len(line) <= WARNING_LENGTH else f"{line[: WARNING_LENGTH - 1]}…"
