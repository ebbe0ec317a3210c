# SPDX-License-Identifier: Apache-2.0
"""What the controller needs of others, as protocols: the API server and the proxy in-process."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from fodc_api.words import CancelMode
from fodc_kube.client import Listed
from fodc_kube.kinds import Kind
from fodc_proxy.captures.model import Request, Spec
from fodc_proxy.captures.targeting import Candidate
from fodc_proxy.fleet.membership import Member


class Cluster(Protocol):
    """The API server (`cluster.client.Cluster`); every method may raise ClusterError."""

    async def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any] | None:
        """An object, None when there is none."""

    async def list(self, kind: Kind, namespace: str | None = None) -> Listed:
        """All objects of a namespace, or of all namespaces."""

    async def patch_status(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        body: Mapping[str, Any],
        resource_version: str | None = None,
    ) -> dict[str, Any]:
        """Merge into the status of an object, if it is still of this version."""

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, resource_version: str | None = None
    ) -> None:
        """Delete an object, if it is still of this version."""


class Engine(Protocol):
    """The proxy's diagnostics (`fodc_proxy.captures.engine.Engine`)."""

    async def submit(
        self,
        spec: Spec,
        request_id: str,
        *,
        among: Sequence[Candidate] | None = None,
        caller: str = "",
    ) -> tuple[Request, bool]:
        """Take in a request; raises FodcError."""

    async def cancel(self, request_id: str, mode: CancelMode) -> Request:
        """End a request early; raises UnknownRequestError."""

    def get(self, request_id: str) -> Request:
        """A request as it stands; raises UnknownRequestError."""

    def select(self) -> tuple[Request, ...]:
        """All requests."""

    def subscribe(self, callback: Callable[[Request], None]) -> Callable[[], None]:
        """Call back with each request that changed; the returned function ends that."""


class Registry(Protocol):
    """Who is registered (`fodc_proxy.fleet.registry.Registry`)."""

    def members(self) -> Sequence[Member]:
        """All members, living or not."""


class Meter(Protocol):
    """Counts what happens."""

    def wrote(self, outcome: str) -> None:
        """A status was written; the outcome is ok or why not."""

    def ended(self, phase: str, reason: str, request: Request | None) -> None:
        """A request has ended; with what the proxy knows of it."""
