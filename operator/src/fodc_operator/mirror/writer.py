# SPDX-License-Identifier: Apache-2.0
"""Writes the fleet into FodcNode objects, for as long as this operator leads.

The one idea: what to write is worked out at the moment of writing, from the fleet as it is then
and from what the server held last; a change only says *that* a node is due. So nothing is queued
twice, nothing old is written, and after any failure the same work is simply done again.
"""

import asyncio
import logging
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fodc_kube.client import Cluster
from fodc_kube.errors import ClusterError, ConflictError, NotFoundError
from fodc_kube.store import Object, key_of, version_of
from fodc_kube.texts import is_name, is_namespace
from fodc_operator.mirror import translate
from fodc_operator.mirror.budget import Budget, Key, Outcome, Rules
from fodc_operator.mirror.leaving import Patience, Silent, verdict
from fodc_operator.mirror.pods import Pods
from fodc_operator.mirror.translate import PodFacts, Running
from fodc_operator.resources import fodcnode
from fodc_operator.resources.fodcnode import NodePhase, Observed
from fodc_operator.resources.kinds import FODC_NODE
from fodc_proxy.fleet.membership import Change, Member, Transition
from fodc_proxy.fleet.registry import Registry

MOST_AT_A_TIME: Final = 8
MOST_REFUSED: Final = 1000
SWEEP_S: Final = 2.0
RELIST_S: Final = 300.0
RELIST_AGAIN_S: Final = 5.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MirrorSettings:
    """Where nodes without a namespace go, which namespaces may be written, and at which pace."""

    own_namespace: str
    namespaces: tuple[str, ...] = ()
    writes: Rules = field(default_factory=Rules)
    patience: Patience = field(default_factory=Patience)


@dataclass(slots=True)
class MirrorMetrics:
    """What the mirror did; seconds from a change to its write among it."""

    writes: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    news: int = 0
    news_seconds: float = 0.0
    refused: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Nodes that cannot be mirrored, by cause; each was told once."""


@dataclass(slots=True)
class _Node:
    """One node: which registrations it has, and what the server holds."""

    agent_ids: set[str] = field(default_factory=set)
    observed: Observed | None = None
    heard_by_us: bool = False
    heard_ms: int = 0
    news_since_s: float | None = None


@dataclass(slots=True)
class _Calls:
    """Writes of one node, counted so that the budget pays for each."""

    made: int = 0


class Mirror:
    """Belongs to the main loop; `run` ends only by being cancelled."""

    def __init__(
        self,
        cluster: Cluster,
        registry: Registry,
        settings: MirrorSettings,
        *,
        running: Callable[[str], Sequence[Running]] = lambda _pod: (),
        differing: Callable[[str], Sequence[str] | None] = lambda _pod: None,
        incident: Callable[[Key], Mapping[str, Any] | None] = lambda _key: None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        clock_s: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.metrics = MirrorMetrics()
        self._cluster = cluster
        self._registry = registry
        self._settings = settings
        self._running = running
        self._differing = differing
        self._incident = incident
        self._clock_ms = clock_ms
        self._clock_s = clock_s
        self._budget = Budget(settings.writes, chance)
        self._pods = Pods(cluster, clock_s)
        self._nodes: dict[Key, _Node] = {}
        self._woken = asyncio.Event()
        self._writing: set[asyncio.Task[None]] = set()
        self._leads_since_ms = 0

    # ---- what others see ----------------------------------------------------------------------

    def phases(self) -> Counter[NodePhase]:
        """Count the mirrored nodes by the phase in which the server has them."""
        known = (node.observed.phase for node in self._nodes.values() if node.observed)
        return Counter(phase for phase in known if phase is not None)

    def observed(self, pod_name: str) -> Observed | None:
        """Return the object of a node of this name, as the server held it last."""
        found = (n.observed for (_, name), n in self._nodes.items() if name == pod_name)
        return next((one for one in found if one is not None), None)

    @property
    def waiting(self) -> int:
        """How many nodes wait with news."""
        return self._budget.news

    def pods_changed(self, addresses: Iterable[str]) -> None:
        """What runs on these nodes has changed."""
        for address in addresses:
            member = self._registry.find(address)
            if member is not None and (key := self._key(member)) is not None:
                self._news(key)

    def incident_changed(self, key: Key) -> None:
        """Something happened to a node, whether or not its agent is still there."""
        if key in self._nodes:
            self._news(key)

    async def seen(self, body: Object) -> None:
        """Somebody wrote an object, perhaps we; an older state of it changes nothing."""
        found = fodcnode.observed(body)
        node = self._nodes.get((found.namespace, found.name))
        if node is None or node.observed is None:
            return
        if version_of(body) > _number(node.observed.resource_version):
            is_news = found.maintenance is not node.observed.maintenance
            node.observed = found
            if is_news:
                self._news((found.namespace, found.name))

    async def gone(self, body: Object) -> None:
        """Somebody removed an object: a node that lives gets it back at once."""
        key = key_of(body)
        node = self._nodes.get(key)
        if node is None or node.observed is None:
            return
        if version_of(body) >= _number(node.observed.resource_version):
            _log.info("FodcNode %s/%s was removed by somebody; made anew if it lives", *key)
            self._missing(key)

    # ---- life ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Take over the objects that exist, then mirror until cancelled."""
        self._leads_since_ms = self._clock_ms()
        unsubscribe = self._registry.subscribe(self._changed)
        relisting = asyncio.create_task(self._relist_on(), name="mirror-relist")
        try:
            await self._mirror_on(relisting)
        finally:
            unsubscribe()
            tasks = [relisting, *self._writing]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _mirror_on(self, relisting: asyncio.Task[None]) -> None:
        await self._take_over()
        for member in self._registry.members():
            self._registered(member)
        next_sweep_s = 0.0
        while not relisting.done():
            now_s = self._clock_s()
            if now_s >= next_sweep_s:
                self._sweep()
                next_sweep_s = now_s + SWEEP_S
            self._start_writes(now_s)
            await self._pause(min(self._budget.wait_s(now_s), next_sweep_s - now_s))
        relisting.result()

    async def _pause(self, seconds: float) -> None:
        self._woken.clear()
        if len(self._writing) >= MOST_AT_A_TIME:
            seconds = SWEEP_S  # the end of a write wakes us
        try:
            async with asyncio.timeout(max(seconds, 0.005)):
                await self._woken.wait()
        except TimeoutError:
            return

    # ---- what changes -------------------------------------------------------------------------

    def _changed(self, transition: Transition) -> None:
        member = transition.member
        key = self._key(member)
        if key is None:
            return
        if transition.change in {Change.REMOVED, Change.SUPERSEDED}:
            node = self._nodes.get(key)
            if node is not None:
                node.agent_ids.discard(member.agent_id)
                node.heard_ms = max(node.heard_ms, member.last_heartbeat_ms)
        else:
            self._registered(member, news=False)
        if translate.is_news(transition):
            self._news(key)

    def _registered(self, member: Member, *, news: bool = True) -> None:
        key = self._key(member)
        if key is None:
            return
        node = self._nodes.setdefault(key, _Node())
        node.agent_ids.add(member.agent_id)
        node.heard_by_us = True
        if news:
            self._news(key)

    def _news(self, key: Key) -> None:
        node = self._nodes.setdefault(key, _Node())
        if node.news_since_s is None:
            node.news_since_s = self._clock_s()
        self._budget.note(key, self._clock_s())
        self._woken.set()

    def _key(self, member: Member) -> Key | None:
        """Return where the member belongs, None where it cannot be mirrored."""
        namespace = member.namespace or self._settings.own_namespace
        if not is_name(member.pod_name) or not is_namespace(namespace):
            self._refuse("name", member, "is no Kubernetes name")
            return None
        allowed = self._settings.namespaces
        if allowed and namespace not in allowed:
            self._refuse("namespace", member, "is in none of the --namespace")
            return None
        return namespace, member.pod_name

    def _refuse(self, cause: str, member: Member, text: str) -> None:
        known = self.metrics.refused[cause]
        name = f"{member.namespace}/{member.pod_name}"[:320]
        if name in known or len(known) >= MOST_REFUSED:
            return
        known.add(name)
        _log.warning("not mirrored: %s %s", name, text)

    def _member(self, node: _Node) -> Member | None:
        """Return the registration that counts: a living one, the newest of equals."""
        found = {agent_id: self._registry.get(agent_id) for agent_id in node.agent_ids}
        node.agent_ids = {agent_id for agent_id, member in found.items() if member is not None}
        living = [member for member in found.values() if member is not None]
        return max(living, key=lambda m: (m.is_living, m.registered_at_ms), default=None)

    def _sweep(self) -> None:
        """Look after the nodes that nobody speaks for: time alone changes them."""
        for key, node in self._nodes.items():
            if node.observed is not None and self._member(node) is None:
                phase = self._verdict(node, node.observed)
                if phase is None or phase is not node.observed.phase:
                    self._budget.note(key, self._clock_s())

    def _verdict(self, node: _Node, seen: Observed) -> NodePhase | None:
        heard_ms = max(node.heard_ms, seen.heard_ms)
        silent = Silent(seen.phase, heard_ms, node.heard_by_us)
        return verdict(
            silent,
            self._settings.patience,
            leads_since_ms=self._leads_since_ms,
            now_ms=self._clock_ms(),
        )

    # ---- what exists --------------------------------------------------------------------------

    async def _take_over(self) -> None:
        while True:
            try:
                await self._list()
            except ClusterError as error:
                _log.error("FodcNodes cannot be listed, trying again: %s", error.message)
                await asyncio.sleep(RELIST_AGAIN_S)
            else:
                _log.info("mirror: %d FodcNodes taken over", len(self._nodes))
                return

    async def _relist_on(self) -> None:
        """See from time to time what others did to the objects."""
        while True:
            await asyncio.sleep(RELIST_S)
            try:
                await self._list()
            except ClusterError as error:
                _log.warning("FodcNodes cannot be listed: %s", error.message)

    async def _list(self) -> None:
        began_s, found = self._clock_s(), dict[Key, Observed]()
        for namespace in self._settings.namespaces or (None,):
            listed = await self._cluster.list(FODC_NODE, namespace)
            for body in listed.items:
                seen = fodcnode.observed(body)
                found[seen.namespace, seen.name] = seen
        for key, seen in found.items():
            self._nodes.setdefault(key, _Node()).observed = seen
            self._budget.keep(key, began_s)
        for key in [key for key in self._nodes if key not in found]:
            self._missing(key)

    def _missing(self, key: Key) -> None:
        """The server has no such object: somebody removed it, or it was never made."""
        node = self._nodes[key]
        node.observed = None
        if self._member(node) is None:
            self._drop(key)
        else:
            self._news(key)

    def _drop(self, key: Key) -> None:
        del self._nodes[key]
        self._budget.forget(key)
        self._pods.forget(key)

    # ---- writing ------------------------------------------------------------------------------

    def _start_writes(self, now_s: float) -> None:
        for key in self._budget.take(now_s, MOST_AT_A_TIME - len(self._writing)):
            name = f"mirror-{key[0]}/{key[1]}"
            task = asyncio.create_task(self._write(key), name=name)
            self._writing.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, writing: asyncio.Task[None]) -> None:
        """Give the place of a write free, and only then say so: who looks before sees it taken."""
        self._writing.discard(writing)
        self._woken.set()

    async def _write(self, key: Key) -> None:
        calls, node = _Calls(), self._nodes.get(key)
        outcome, since_s = Outcome.FAILED, None
        if node is not None:  # what is told from now on is news again
            since_s, node.news_since_s = node.news_since_s, None
        try:
            outcome = Outcome.UNCHANGED if node is None else await self._bring(key, node, calls)
        except NotFoundError as error:
            self._vanished(key, error)
        except ConflictError:
            outcome = await self._read_again(key, node)
        except ClusterError as error:
            _log.warning("FodcNode %s/%s not written: %s", *key, error.message)
        except Exception:  # noqa: BLE001 - one node must not cost the others; it is tried again
            _log.exception("FodcNode %s/%s not written", *key)
        finally:
            self.metrics.writes[outcome.value] += 1
            self.metrics.calls += calls.made
            self._count_news(node, since_s, outcome)
            self._budget.done(key, outcome, self._clock_s(), calls=max(1, calls.made))

    def _count_news(self, node: _Node | None, since_s: float | None, outcome: Outcome) -> None:
        if node is None or since_s is None:
            return
        if outcome is Outcome.WRITTEN:
            self.metrics.news += 1
            self.metrics.news_seconds += self._clock_s() - since_s
        elif outcome is Outcome.FAILED:
            node.news_since_s = since_s

    async def _read_again(self, key: Key, node: _Node | None) -> Outcome:
        """Somebody else wrote the object: what is to be written follows from what it is now."""
        try:
            found = await self._cluster.get(FODC_NODE, *key)
        except ClusterError as error:
            _log.warning("FodcNode %s/%s cannot be read: %s", *key, error.message)
            return Outcome.FAILED
        if node is not None and found is not None:
            node.observed = fodcnode.observed(found)
        elif node is not None:
            self._missing(key)
        return Outcome.FAILED

    def _vanished(self, key: Key, error: NotFoundError) -> None:
        """The object went between two writes, or its namespace does not exist."""
        node = self._nodes.get(key)
        if node is None or node.observed is None:
            _log.warning("FodcNode %s/%s cannot be made: %s", *key, error.message)
            return
        _log.info("FodcNode %s/%s was removed by somebody; made anew if it lives", *key)
        self._missing(key)

    async def _bring(self, key: Key, node: _Node, calls: _Calls) -> Outcome:
        """Make the object of the node say what holds now."""
        member = self._member(node)
        if member is None:
            return await self._bring_silent(key, node, calls)
        node.heard_ms = max(node.heard_ms, member.last_heartbeat_ms)
        pod = await self._pods.facts(key, member.identity.pod_uid)
        seen = node.observed
        if seen is None:
            seen = await self._make(key, member, pod, calls)
        elif patch := translate.head_patch(seen, member, pod):
            seen = await self._patched(key, patch, seen.resource_version, calls)
        node.observed = seen
        status = translate.status_of(
            member,
            pod,
            self._running(member.address),
            seen.status,
            generation=seen.generation,
            now_ms=self._clock_ms(),
            differing=self._differing(member.address),
            incident=self._incident(key),
        )
        return await self._bring_status(key, node, status, calls)

    async def _bring_silent(self, key: Key, node: _Node, calls: _Calls) -> Outcome:
        seen = node.observed
        if seen is None:
            self._drop(key)
            return Outcome.UNCHANGED
        phase = self._verdict(node, seen)
        if phase is None:
            calls.made += 1
            await self._cluster.delete(
                FODC_NODE, *key, resource_version=seen.resource_version or None
            )
            _log.info("FodcNode %s/%s removed after the retention", *key)
            self._drop(key)
            return Outcome.WRITTEN
        incident = self._incident(key)
        if phase is seen.phase and incident in (None, seen.status.get("lastIncident")):
            return Outcome.UNCHANGED
        status = translate.left_status(
            phase,
            seen.status,
            generation=seen.generation,
            now_ms=self._clock_ms(),
            incident=incident,
        )
        return await self._bring_status(key, node, status, calls)

    async def _bring_status(
        self, key: Key, node: _Node, status: translate.Status, calls: _Calls
    ) -> Outcome:
        seen = node.observed
        if seen is not None and status == seen.status:
            return Outcome.WRITTEN if calls.made else Outcome.UNCHANGED
        calls.made += 1
        version = None if seen is None else seen.resource_version or None
        body = await self._cluster.patch_status(
            FODC_NODE, *key, translate.patch_of(status), version
        )
        node.observed = fodcnode.observed(body)
        return Outcome.WRITTEN

    async def _make(self, key: Key, member: Member, pod: PodFacts, calls: _Calls) -> Observed:
        calls.made += 1
        metadata: dict[str, Any] = {"name": key[1], "labels": translate.labels_of(member, pod)}
        if pod.owner is not None:
            metadata["ownerReferences"] = [dict(pod.owner)]
        body = {"metadata": metadata, "spec": {}}
        try:
            return fodcnode.observed(await self._cluster.create(FODC_NODE, key[0], body))
        except ConflictError as error:
            there = await self._cluster.get(FODC_NODE, *key)
            if not error.already_exists or there is None:
                raise
            return fodcnode.observed(there)

    async def _patched(
        self, key: Key, patch: dict[str, Any], version: str, calls: _Calls
    ) -> Observed:
        calls.made += 1
        body = await self._cluster.patch(FODC_NODE, *key, patch, resource_version=version or None)
        return fodcnode.observed(body)


def _number(version: str) -> int:
    return int(version) if version.isdecimal() else 0
