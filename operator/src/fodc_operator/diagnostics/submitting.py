# SPDX-License-Identifier: Apache-2.0
"""Chooses the nodes of a DiagnosticRequest and gives it to the proxy.

The one idea: what can come of it is a value, so the controller decides in one place what the status
tells and when to try again.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from fodc_kube.errors import ClusterError
from fodc_operator.diagnostics import ports, targets
from fodc_operator.diagnostics.auditing import caller_of, created, refused
from fodc_operator.diagnostics.translate import proxy_spec, request_id
from fodc_operator.resources.diagnostic_request import Identity, RequestSpec
from fodc_operator.resources.kinds import FODC_NODE
from fodc_protocol.errors import FodcError, Reason
from fodc_protocol.fields import FieldError
from fodc_proxy.access.audit import Deed
from fodc_proxy.captures.refusals import ConflictError
from fodc_proxy.captures.targeting import Candidate

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The nodes that the request may mean; `missing` are meant and not registered (again) yet."""

    among: Sequence[Candidate]
    missing: Sequence[str]


@dataclass(frozen=True, slots=True)
class Taken:
    """The proxy has the request."""


@dataclass(frozen=True, slots=True)
class NotNow:
    """It may be taken later; the message says why it is not now."""

    message: str


@dataclass(frozen=True, slots=True)
class Never:
    """It asks for what cannot be; the message names the field."""

    message: str


Answer: TypeAlias = Taken | NotNow | Never


class Submitter:
    """Stands between the controller and the proxy; its methods never raise."""

    def __init__(
        self,
        cluster: ports.Cluster,
        engine: ports.Engine,
        registry: ports.Registry,
        home_namespace: str,
        clock_ms: Callable[[], int],
        *,
        audit: Callable[[Deed], None],
    ) -> None:
        self._cluster = cluster
        self._engine = engine
        self._registry = registry
        self._home = home_namespace
        self._clock_ms = clock_ms
        self._audit = audit

    async def choose(self, identity: Identity, spec: RequestSpec) -> Chosen | NotNow:
        """Return the nodes of the request's namespace, known and registered ones."""
        namespace = identity.key.namespace
        try:
            listed = await self._cluster.list(FODC_NODE, namespace)
        except ClusterError as error:
            _log.warning("nodes of %s cannot be listed yet: %s", namespace, error.message)
            return NotNow(f"FodcNodes cannot be listed: {error.message}")
        known = targets.known_nodes(listed.items)
        fleet = targets.Fleet(self._registry.members(), self._home)
        among = targets.candidates(spec.target, namespace, fleet, known)
        return Chosen(among, targets.awaited(spec.target, among, known))

    async def give(self, identity: Identity, spec: RequestSpec, chosen: Chosen) -> Answer:
        """Give the request to the proxy."""
        waited_s = (self._clock_ms() - identity.created_at_ms) / 1000
        try:
            taken, is_new = await self._engine.submit(
                proxy_spec(spec, waited_s),
                request_id(identity),
                among=chosen.among,
                caller=caller_of(identity),
            )
        except FieldError as error:
            self._audit(refused(identity, spec, self._clock_ms()))
            return Never(f"spec.{error.message}")
        except ConflictError as error:
            self._audit(refused(identity, spec, self._clock_ms()))
            return Never(error.message)
        except FodcError as error:
            if error.reason not in {Reason.BUSY, Reason.THROTTLED}:
                _log.warning("request %s is not taken in yet: %s", identity.key, error.message)
            return NotNow(error.message)
        if is_new:
            self._audit(created(identity, taken, self._clock_ms()))
        return Taken()


def awaiting(chosen: Chosen) -> NotNow:
    """Say which agents are waited for."""
    names = ", ".join(chosen.missing[:3])
    more = f" and {len(chosen.missing) - 3} more" if len(chosen.missing) > 3 else ""
    return NotNow(f"waits for agents to connect again after a restart: {names}{more}")
