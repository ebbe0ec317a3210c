# SPDX-License-Identifier: Apache-2.0
"""All requests, who may add one, and how far their records are behind. No I/O, no clock.

The one idea: a request exists when its record is stored; until then it takes its id and its places,
and nobody is told of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fodc_proxy.captures.effects import Effects, Remove, Save, Tell
from fodc_proxy.captures.model import Request, Spec
from fodc_proxy.captures.refusals import ConflictError, TooManyError


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of what is held; bytes of one artifact, time in milliseconds."""

    max_open_requests: int = 128
    # One caller leaves room for others.
    max_open_per_caller: int = 64
    # Within an hour; 0 is no limit.
    max_hourly_per_caller: int = 1_000
    max_hourly_per_node: int = 240
    max_targets: int = 256
    max_running_captures: int = 64
    max_artifact_bytes: int = 256 * 1024 * 1024
    kept_finished: int = 500
    finished_ttl_ms: int = 7 * 24 * 3600 * 1000


class Table:
    """All requests in the order of their arrival, and how far their records are behind."""

    def __init__(self) -> None:
        self._requests: dict[str, Request] = {}
        # The revision at which a record has to be stored, and the one at which it is.
        self._wanted: dict[str, int] = {}
        self._saved: dict[str, int] = {}

    def __getitem__(self, request_id: str) -> Request:
        return self._requests[request_id]

    def find(self, request_id: str) -> Request | None:
        """The request of this id, stored or not."""
        return self._requests.get(request_id)

    def stored(self, request_id: str) -> Request | None:
        """The request of this id if it exists."""
        return self._requests.get(request_id) if request_id in self._saved else None

    def all_stored(self) -> list[Request]:
        """All requests that exist, the oldest first."""
        return [one for one in self._requests.values() if one.id in self._saved]

    def is_stored(self, request_id: str) -> bool:
        """Whether it is there after a restart too: only then it exists for others."""
        return request_id in self._saved

    def all(self) -> Iterable[Request]:
        """All requests, the oldest first."""
        return self._requests.values()

    def open(self) -> list[Request]:
        """Requests that have not ended."""
        return [request for request in self._requests.values() if not request.phase.ended]

    def put(self, request: Request) -> None:
        """Keep a request as it is now; what is made of it comes later."""
        self._requests[request.id] = request

    def changed(self, request: Request, *, is_durable: bool) -> Effects:
        """Keep a changed request as its next revision."""
        request = replace(request, revision=request.revision + 1)
        self._requests[request.id] = request
        if not is_durable:
            return [Tell(request.id)]
        self._wanted[request.id] = request.revision
        return [Save(request.id), Tell(request.id)]

    def saved(self, request_id: str, revision: int) -> None:
        """A record is stored."""
        self._saved[request_id] = max(revision, self._saved.get(request_id, 0))

    def behind(self) -> list[str]:
        """Requests whose record is not what it has to be."""
        return [one for one, at in self._wanted.items() if self._saved.get(one, 0) < at]

    def drop(self, request_id: str) -> Effects:
        """Forget a request."""
        for table in (self._requests, self._wanted, self._saved):
            table.pop(request_id, None)
        return [Remove(request_id), Tell(request_id)]

    # ---- who may add one ------------------------------------------------------------------

    def known(self, request_id: str, spec: Spec) -> Request | None:
        """The request of this id; raises ConflictError when it asks for something else."""
        request = self.find(request_id)
        if request is not None and request.spec != spec:
            message = f"id {request_id} is taken by a request that asks for something else"
            raise ConflictError(message)
        return request

    def check_room(self, caller: str, limits: Limits) -> None:
        """Raise SubmitError when no more requests are taken in, from anybody or from this one."""
        open_now = self.open()
        own = sum(request.caller == caller for request in open_now)
        if len(open_now) >= limits.max_open_requests:
            message = f"{limits.max_open_requests} requests are open, as many as are allowed"
            raise TooManyError(message)
        if own >= limits.max_open_per_caller:
            message = f"{own} requests of this caller are open, as many as one may have"
            raise TooManyError(message)
