# SPDX-License-Identifier: Apache-2.0
"""Which captures run on which node, kept from the requests as they change."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from fodc_api.words import Phase
from fodc_operator.mirror.translate import Running
from fodc_proxy.captures.model import Request


@dataclass(slots=True)
class Captures:
    """By request and address of the node; a request that ended is not kept."""

    _by_request: dict[str, dict[str, tuple[Running, ...]]] = field(default_factory=dict)

    def note(self, request: Request) -> frozenset[str]:
        """Take in a request as it is now; return the addresses on which something else runs now."""
        before = self._by_request.get(request.id, {})
        now = dict(_running(request))
        if now:
            self._by_request[request.id] = now
        else:
            self._by_request.pop(request.id, None)
        pods = before.keys() | now.keys()
        return frozenset(pod for pod in pods if before.get(pod) != now.get(pod))

    def running(self, address: str) -> tuple[Running, ...]:
        """Return what runs at this address, the oldest request first."""
        found = (pods.get(address, ()) for pods in self._by_request.values())
        return tuple(one for some in found for one in some)


def _running(request: Request) -> Iterator[tuple[str, tuple[Running, ...]]]:
    if request.phase.ended:
        return
    for target in request.targets:
        if target.phase is not Phase.RUNNING:
            continue
        found = tuple(
            Running(request.id, result.profile, result.started_at_ms or 0)
            for result in target.results
            if result.phase is Phase.RUNNING
        )
        if found:
            yield target.address, found
