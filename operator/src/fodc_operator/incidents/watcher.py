# SPDX-License-Identifier: Apache-2.0
"""Tells the incidents how the containers of nodes ended, with the end of what they wrote.

The one idea: a pod that changed is looked at again; what of it the incidents do not know yet is
told, and whatever fails is told at the next look.  Only namespaces in which nodes are, are watched.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from fodc_kube import kinds
from fodc_kube.client import Cluster
from fodc_kube.errors import ClusterError
from fodc_kube.informer import Informer, Selection
from fodc_kube.pods import Pod, mapping, text
from fodc_kube.store import Change, ChangeType, key_of
from fodc_kube.work_queue import WorkQueue
from fodc_operator.incidents import log_tails
from fodc_operator.incidents.ends import Ended, ends_of, has_agent, kept_of, machine_of
from fodc_proxy.evidence.incidents.engine import Incidents
from fodc_proxy.evidence.incidents.facts import PodTold, pod_source
from fodc_proxy.evidence.incidents.model import Node
from fodc_proxy.fleet.membership import Member
from fodc_proxy.fleet.registry import Registry

Key = tuple[str, str]
_NAMESPACES_S: Final = 2.0
_STALE_MS: Final = 24 * 3600 * 1000
_WORKERS: Final = 4
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Place:
    """One namespace with nodes, and its pods."""

    pods: Informer
    watching: asyncio.Task[None]


class PodWatcher:
    """`run` in a task while this replica leads."""

    def __init__(
        self,
        cluster: Cluster,
        registry: Registry,
        incidents: Incidents,
        *,
        home_namespace: str,
        namespaces: tuple[str, ...] = (),
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """Watch where nodes are, of `namespaces` only when there are some."""
        self._cluster = cluster
        self._registry = registry
        self._incidents = incidents
        self._home = home_namespace
        self._namespaces = namespaces
        self._clock_ms = clock_ms
        self._places: dict[str, _Place] = {}
        self._queue: WorkQueue[Key] = WorkQueue(
            self._look, workers=_WORKERS, clock_s=time.monotonic
        )

    async def run(self) -> None:
        """Watch until cancelled."""
        looking = asyncio.create_task(self._queue.run(), name="incidents-pods")
        try:
            while not looking.done():
                self._follow()
                await asyncio.sleep(_NAMESPACES_S)
            looking.result()
        finally:
            tasks = [looking, *(place.watching for place in self._places.values())]
            self._places.clear()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _follow(self) -> None:
        """Watch the namespaces in which nodes are; one without stays, for who went was a node."""
        for member in self._registry.members():
            namespace = member.namespace or self._home
            allowed = not self._namespaces or namespace in self._namespaces
            if namespace not in self._places and allowed:
                self._enter(namespace)

    def _enter(self, namespace: str) -> None:
        pods = Informer(self._cluster, kinds.POD, Selection((namespace,)), keep=kept_of)
        pods.on_change(self._changed)
        task = asyncio.create_task(pods.run(), name=f"incidents-pods-{namespace}")
        self._places[namespace] = _Place(pods, task)

    def _changed(self, change: Change) -> None:
        if change.type is not ChangeType.DELETED and any(ends_of(change.object)):
            self._queue.put(key_of(change.object))

    # ---- one pod --------------------------------------------------------------------------------

    async def _look(self, key: Key) -> None:
        """Tell what is not known yet of a pod; raises what says that it has to be tried again."""
        place = self._places.get(key[0])
        pod = None if place is None else place.pods.get(*key)
        if place is None or pod is None:
            return
        member = self._member(key)
        if member is None and not has_agent(pod):
            return
        node = self._node(key, member, pod)
        uid = text(mapping(pod.get("metadata")).get("uid"))
        for ended in ends_of(pod):
            if self._is_news(node, uid, ended):
                await self._tell(key, node, uid, ended)

    def _member(self, key: Key) -> Member | None:
        """Return the agent of a pod; one that tells no namespace is of the home namespace."""
        found = self._registry.find(f"{key[0]}/{key[1]}")
        if found is None and key[0] == self._home:
            found = self._registry.find(key[1])
            return None if found is None or found.namespace else found
        return found

    def _node(self, key: Key, member: Member | None, pod: Pod) -> Node:
        if member is None:
            return Node(key[0], key[1], "", machine_of(pod))
        return Node(member.namespace, member.pod_name, member.role, machine_of(pod))

    def _is_news(self, node: Node, uid: str, ended: Ended) -> bool:
        end = ended.end
        is_old = self._clock_ms() - (end.finished_at_ms or self._clock_ms()) > _STALE_MS
        source = pod_source(uid, end.container)
        return not is_old and not self._incidents.knows(node.address, source, end.restarts)

    async def _tell(self, key: Key, node: Node, uid: str, ended: Ended) -> None:
        log, missing = await self._log_of(key, ended)
        neighbours = tuple(self._neighbours(key, node.machine))
        told = PodTold(node, uid, ended.end, neighbours, log, missing)
        await self._incidents.pod_ended(told)

    def _neighbours(self, key: Key, machine: str) -> Iterable[str]:
        """Return other pods with an agent on the same machine, as far as they are watched."""
        watched = (pod for place in self._places.values() for pod in place.pods.items())
        for pod in watched if machine else ():
            is_there = machine_of(pod) == machine and has_agent(pod)
            if is_there and key_of(pod) != key:
                yield "/".join(key_of(pod))

    async def _log_of(self, key: Key, ended: Ended) -> tuple[str, str]:
        """Return the end of what a container wrote, or why it cannot be had."""
        try:
            data = await self._cluster.log(
                *key,
                ended.end.container,
                is_previous=ended.is_previous,
                lines=log_tails.MOST_LINES,
                most_bytes=log_tails.MOST_READ_BYTES,
            )
        except ClusterError as error:
            _log.warning("the log of %s/%s cannot be read: %s", *key, error.message)
            return "", f"its log cannot be read: {error.message}"
        return await asyncio.to_thread(log_tails.tail_of, data), ""
