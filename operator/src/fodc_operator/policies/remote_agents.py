# SPDX-License-Identifier: Apache-2.0
"""Keeps ConfigMap and Deployment of the remote agents as the standings want them.

The one idea: what was brought about is remembered by its content, so a pass without news asks the
server for nothing; what is not remembered is read first, and only what differs is written.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fodc_kube import kinds
from fodc_kube.client import Cluster, Object
from fodc_kube.errors import ClusterError, ConflictError, ForbiddenError, NotFoundError
from fodc_kube.kinds import Kind
from fodc_operator.policies import remote_targets
from fodc_operator.policies.remote_targets import COMPONENT, MOST_TARGETS, NAME
from fodc_operator.policies.standing import Remote, Standing
from fodc_webhook.resources.fodc_injection import Policy

RECHECK_MS: Final = 60_000
SOON_MS: Final = 4_000
_KINDS: Final = (kinds.CONFIG_MAP, kinds.DEPLOYMENT)
_log = logging.getLogger(__name__)


class _TakenError(Exception):
    """An object of the name is somebody else's."""


@dataclass(frozen=True, slots=True)
class _Done:
    """What was brought about for one namespace, until when that is believed."""

    wanted: tuple[Mapping[str, Any], ...]
    is_available: bool
    until_ms: int
    targets: frozenset[tuple[str, str]] = frozenset()
    """Name and UID of the pods that are reached."""


class RemoteAgents:
    """One per operator; `bring` is called for one namespace at a time."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._done: dict[str, _Done] = {}

    async def bring(
        self, namespace: str, standings: Iterable[Standing], *, was_there: bool, now_ms: int
    ) -> Remote:
        """Make the remote agent of a namespace reach the pods that miss theirs; never raises.

        `was_there` says that an earlier operator may have made one.
        """
        told = [(one.view.policy, remote_targets.targets_of(one)) for one in standings]
        wanted = [target for _, targets in told for target in targets]
        try:
            if not wanted:
                await self._remove(namespace, is_known=was_there)
                return _idle() if any(map(_is_asked, told)) else Remote()
            owners = [policy for policy, targets in told if targets]
            is_available = await self._keep(namespace, wanted, owners, now_ms)
        except (ClusterError, _TakenError) as error:
            self._done.pop(namespace, None)
            return _refused(namespace, error)
        names = frozenset(str(one["pod_name"]) for one in wanted)
        return _running(names, is_available=is_available)

    def reaches(self, agent: str, namespace: str, pod: tuple[str, str]) -> bool:
        """Say whether a pod `agent` of a namespace is the agent that reaches this name and UID."""
        done = self._done.get(namespace)
        return done is not None and agent.startswith(f"{NAME}-") and pod in done.targets

    def forget(self, namespace: str) -> None:
        """The namespace has no policy any more: the server removes what they owned."""
        self._done.pop(namespace, None)

    # ---- making -------------------------------------------------------------------------------

    async def _keep(
        self,
        namespace: str,
        targets: Sequence[Mapping[str, Any]],
        owners: Sequence[Policy],
        now_ms: int,
    ) -> bool:
        """Return whether the agent runs."""
        wanted = (
            remote_targets.config_map(namespace, [dict(one) for one in targets], owners),
            remote_targets.deployment(namespace, owners),
        )
        done = self._done.get(namespace)
        if done is not None and done.wanted == wanted and now_ms < done.until_ms:
            return done.is_available
        there = [await self._bring_one(kind, one) for kind, one in zip(_KINDS, wanted, strict=True)]
        is_available = remote_targets.is_available(there[-1])
        until_ms = now_ms + (RECHECK_MS if is_available else SOON_MS)
        reached = frozenset((str(one["pod_name"]), str(one["pod_uid"])) for one in targets)
        self._done[namespace] = _Done(wanted, is_available, until_ms, reached)
        return is_available

    async def _bring_one(self, kind: Kind, wanted: Mapping[str, Any]) -> Object:
        namespace = str(wanted["metadata"]["namespace"])
        there = await self._cluster.get(kind, namespace, NAME)
        if there is None:
            _log.info("%s %s/%s is made", kind.kind, namespace, NAME)
            return await self._create(kind, namespace, wanted)
        _check_ours(kind, there)
        if not remote_targets.differs(wanted, there):
            return there
        return await self._cluster.patch(kind, namespace, NAME, wanted)

    async def _create(self, kind: Kind, namespace: str, wanted: Mapping[str, Any]) -> Object:
        try:
            return await self._cluster.create(kind, namespace, wanted)
        except ConflictError:
            # An attempt before this one was heard after all.
            return await self._cluster.patch(kind, namespace, NAME, wanted)

    async def _remove(self, namespace: str, *, is_known: bool) -> None:
        if self._done.pop(namespace, None) is None and not is_known:
            return
        for kind in reversed(_KINDS):
            there = await self._cluster.get(kind, namespace, NAME)
            if there is not None and remote_targets.is_ours(there):
                await self._cluster.delete(kind, namespace, NAME)
                _log.info("%s %s/%s is removed", kind.kind, namespace, NAME)


def _is_asked(told: tuple[Policy, object]) -> bool:
    return told[0].attach_remotely and not told[0].paused


def _check_ours(kind: Kind, there: Object) -> None:
    if not remote_targets.is_ours(there):
        raise _TakenError(
            f"there is a {kind.kind} {NAME} that the operator did not make; it is left alone"
        )


# ---- conditions -------------------------------------------------------------------------------


def _idle() -> Remote:
    return Remote("True", "NothingToAttach", "no pod that runs misses its agent")


def _running(names: frozenset[str], *, is_available: bool) -> Remote:
    number = f"{len(names)} pods" if len(names) != 1 else "1 pod"
    if not is_available:
        text = f"{NAME} has not started yet; it is to reach {number}"
        return Remote("Unknown", "Starting", text)
    left = len(names) - MOST_TARGETS
    if left > 0:
        text = f"{NAME} reaches {MOST_TARGETS} pods and no more; {left} are left out"
        return Remote("False", "TooMany", text, frozenset(sorted(names)[:MOST_TARGETS]))
    return Remote("True", "Attached", f"{NAME} reaches {number} over the network", names)


def _refused(namespace: str, error: Exception) -> Remote:
    match error:
        case ForbiddenError():
            text = f"add the component {COMPONENT} of the manifests: {error.message}"
            return Remote("False", "Forbidden", text)
        case NotFoundError():
            return Remote("Unknown", "Changing", f"{NAME} is made anew")
        case ClusterError():
            _log.warning("%s/%s: %s", namespace, NAME, error.message)
            return Remote("False", "NotWritten", error.message)
        case _:
            return Remote("False", "NameTaken", str(error))
