# SPDX-License-Identifier: Apache-2.0
"""Who asked by a DiagnosticRequest, and what the audit is told of it; pure.

The one idea: somebody who asks by an object is the same caller as one who asks over HTTP with a
token of the cluster, so places, limits and the audit know one name for both.
"""

from collections.abc import Sequence
from typing import Final

from fodc_api.words import CancelMode
from fodc_operator.diagnostics.translate import request_id
from fodc_operator.resources.diagnostic_request import Identity, RequestSpec
from fodc_proxy.access.audit import Deed
from fodc_proxy.access.callers import Caller, Method
from fodc_proxy.captures.model import Capture, Request

UNKNOWN: Final = "unknown"
"""Who asks when admission has written nothing down: the webhook was away."""
_PEER: Final = "api-server"
_CREATED, _REFUSED, _ACCEPTED = 201, 400, 202


def who(identity: Identity) -> str:
    """Return who asked, in a word for people."""
    return identity.requested_by or "somebody unknown"


def caller_of(identity: Identity) -> str:
    """Return as whom the proxy counts a request: those that nobody signed are one per namespace."""
    if identity.requested_by:
        return str(_caller(identity.requested_by))
    return f"namespace {identity.key.namespace}"


def created(identity: Identity, taken: Request, now_ms: int) -> Deed:
    """Return what is told of a request that the proxy took in."""
    nodes = [target.node_id for target in taken.targets]
    return _asked(identity, _CREATED, taken.spec.captures, now_ms, nodes)


def refused(identity: Identity, spec: RequestSpec, now_ms: int) -> Deed:
    """Return what is told of a request that asks for what cannot be."""
    return _asked(identity, _REFUSED, spec.captures, now_ms)


def cancelled(identity: Identity, mode: CancelMode, now_ms: int) -> Deed:
    """Return what is told of one that was ended early, of who did that by the object."""
    caller = _caller(identity.cancelled_by)
    return _deed(identity, caller, "cancelDiagnosticRequest", _ACCEPTED, now_ms, mode=str(mode))


def _asked(
    identity: Identity,
    status: int,
    captures: Sequence[Capture],
    now_ms: int,
    nodes: Sequence[str] = (),
) -> Deed:
    profiles = [str(one.profile) for one in captures]
    return _deed(
        identity,
        _caller(identity.requested_by),
        "createDiagnosticRequest",
        status,
        now_ms,
        nodes=nodes,
        profiles=profiles,
    )


def _deed(
    identity: Identity,
    caller: Caller,
    action: str,
    status: int,
    now_ms: int,
    **about: str | Sequence[str],
) -> Deed:
    named = {"object": request_id(identity), "resource": str(identity.key)}
    return Deed(now_ms, identity.uid, caller, _PEER, action, status, {**named, **about})


def _caller(name: str) -> Caller:
    if name:
        return Caller(name, Method.KUBERNETES)
    return Caller(UNKNOWN, Method.NOTHING)
