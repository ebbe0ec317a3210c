# SPDX-License-Identifier: Apache-2.0
"""Keeps the file of the remote agent, a ConfigMap in the operator's own namespace.

The one idea: the file is of all namespaces, and each look brings the part of one. What a namespace
was told before, that nobody has looked at yet, stays; what was written is believed for a minute.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from fodc_kube import kinds
from fodc_kube.client import Cluster
from fodc_kube.errors import ClusterError, ForbiddenError, NotFoundError
from fodc_operator.policies.remote_targets import (
    COMPONENT,
    MOST_TARGETS,
    NAME,
    TARGETS,
    Body,
    first_of,
    identity_of,
    targets_in,
    targets_json,
    targets_of,
)
from fodc_operator.policies.standing import Remote, Standing

RECHECK_MS: Final = 60_000
_log = logging.getLogger(__name__)


class RemoteAgents:
    """One per operator; `bring` is called for one namespace at a time."""

    def __init__(
        self, cluster: Cluster, home: str, registered: Callable[[str, str], bool | None]
    ) -> None:
        """Keep the file in the namespace `home`; `registered` says whether a pod has an agent."""
        self._cluster = cluster
        self._home = home
        self._registered = registered
        self._wanted: dict[str, tuple[Body, ...]] = {}
        self._looked_at: set[str] = set()
        self._content: str | None = None
        """Of the file, as it was read or written last; None while that is not known."""
        self._until_ms = 0
        self._is_asked_for_more = False
        """Whether an agent came for a pod that it was not told of: the file is of another day."""

    async def bring(
        self, namespace: str, standings: Iterable[Standing], known: Collection[str], now_ms: int
    ) -> Remote:
        """Tell the remote agent of the pods of a namespace that miss theirs; never raises.

        `known` are the namespaces that have policies.
        """
        told = [(one.view.policy, targets_of(one)) for one in standings]
        self._wanted[namespace] = tuple(target for _, targets in told for target in targets)
        self._looked_at.add(namespace)
        is_asked = any(policy.attach_remotely and not policy.paused for policy, _ in told)
        try:
            await self._keep(known, now_ms)
        except ClusterError as error:
            self._content = None
            return _refused(error) if is_asked else Remote()
        return self._state(namespace) if is_asked else Remote()

    async def forget(self, namespace: str, known: Collection[str], now_ms: int) -> None:
        """The namespace has no policy any more."""
        await self.bring(namespace, (), known, now_ms)
        del self._wanted[namespace]
        self._looked_at.discard(namespace)

    @property
    def is_wanted(self) -> bool:
        """Whether there is a pod to reach."""
        return any(self._wanted.values())

    def reaches(self, where: str, agent: str, pod: tuple[str, str, str]) -> bool:
        """Say whether pod `agent` of namespace `where` is the agent that reaches another.

        That one is named by namespace, name and UID.
        """
        if where != self._home or not agent.startswith(f"{NAME}-"):
            return False
        found = pod in map(identity_of, self._first())
        self._is_asked_for_more |= not found
        return found

    # ---- the file -----------------------------------------------------------------------------

    def _first(self) -> Sequence[Body]:
        return first_of(one for targets in self._wanted.values() for one in targets)

    async def _keep(self, known: Collection[str], now_ms: int) -> None:
        """Bring the file up to date; ask for it only when there is something to reach or to end."""
        is_empty = self._content is None or not targets_in(self._content)
        if not self.is_wanted and is_empty and not self._is_asked_for_more:
            return
        if self._content is None or self._is_asked_for_more or now_ms >= self._until_ms:
            self._content = await self._read()
            self._until_ms = now_ms + RECHECK_MS
            self._is_asked_for_more = False
        wanted = targets_json([*self._first(), *self._of_others(known)])
        if wanted != self._content:
            body = {"data": {TARGETS: wanted}}
            await self._cluster.patch(kinds.CONFIG_MAP, self._home, NAME, body)
            self._content = wanted
            _log.info("%s is told of %d pods", NAME, len(targets_in(wanted)))

    async def _read(self) -> str:
        there = await self._cluster.get(kinds.CONFIG_MAP, self._home, NAME)
        if there is None:
            raise NotFoundError(f"there is no ConfigMap {self._home}/{NAME}", status=404)
        return str((there.get("data") or {}).get(TARGETS, ""))

    def _of_others(self, known: Collection[str]) -> list[Body]:
        """Return what stands there about namespaces that this leader has not looked at yet."""
        waiting = set(known) - self._looked_at
        return [one for one in targets_in(self._content or "") if identity_of(one)[0] in waiting]

    # ---- how it stands ------------------------------------------------------------------------

    def _state(self, namespace: str) -> Remote:
        wanted = {identity_of(one)[1] for one in self._wanted[namespace]}
        told = {name for where, name, _ in map(identity_of, self._first()) if where == namespace}
        reached = frozenset(name for name in told if self._registered(namespace, name))
        if not wanted:
            return Remote("True", "NothingToAttach", "no pod that runs misses its agent")
        if left := len(wanted) - len(told):
            text = f"{NAME} reaches {MOST_TARGETS} pods and no more; {left} of these are left out"
            return Remote("False", "TooMany", text, reached)
        number = f"{len(told)} pods" if len(told) != 1 else "1 pod"
        if len(reached) < len(told):
            text = f"{NAME} is told of {number} and has reached {len(reached)} until now"
            return Remote("Unknown", "Starting", text, reached)
        return Remote("True", "Attached", f"{NAME} reaches {number} over the network", reached)


def _refused(error: ClusterError) -> Remote:
    if isinstance(error, ForbiddenError | NotFoundError):
        text = f"add the component {COMPONENT} of the manifests: {error.message}"
        return Remote("False", "NotInstalled", text)
    _log.warning("%s: %s", NAME, error.message)
    return Remote("False", "NotWritten", error.message)
