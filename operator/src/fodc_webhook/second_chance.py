# SPDX-License-Identifier: Apache-2.0
"""Pods that somebody after us refuses because of the agent, and that must be let in without it.

The one idea: a controller whose pod is refused makes the same pod again at once. A quota, a
LimitRange or another admission plugin that refuses our container would keep the database from
coming up for ever, so a pod that keeps coming back without an agent, although it left with one, is
let in as it came. The first tries come within milliseconds, which no pod that lived does however
often a person deletes it; later ones up to 17 minutes apart, so a verdict is kept for longer.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Final

from fodc_kube.pods import Pod, entries, mapping, text
from fodc_webhook.inject.pod_reading import has_our_agent

WINDOW_S: Final = 10.0
VERDICT_S: Final = 20 * 60.0
"""So long after its last coming a pod with a name of its own counts as refused."""
ATTEMPTS: Final = 3
"""The coming of a named pod at which it counts as refused before."""
UNNAMED_ATTEMPTS: Final = 6
"""The same for pods whose name the server makes up: those that a ReplicaSet makes beside each
other cannot be told from one that comes back. Its retries reach this number in a second."""
CAPACITY: Final = 4096


@dataclass(frozen=True, slots=True)
class Wanted:
    """The pod that a controller wants, however often it tries."""

    namespace: str
    name: str
    """Its name, else the beginning of the name that the server will complete."""
    owner_uid: str
    """UID of the controller; empty for a pod with a name of its own."""


def wanted_of(pod: Pod, namespace: str) -> Wanted | None:
    """Return which pod this is, None when it cannot be told from others."""
    metadata = mapping(pod.get("metadata"))
    name = text(metadata.get("name"))
    if name:
        return Wanted(namespace, name, "")
    owners = entries(metadata.get("ownerReferences"))
    uids = [text(one.get("uid")) for one in owners if one.get("controller") is True]
    prefix = text(metadata.get("generateName"))
    return Wanted(namespace, prefix, uids[0]) if prefix and uids and uids[0] else None


class SecondChances:
    """Memory of the pods that left with an agent within the window; times in seconds.

    It holds at most `capacity` pods and forgets those that left longest ago.
    """

    def __init__(self, *, window_s: float = WINDOW_S, capacity: int = CAPACITY) -> None:
        self._window_s = window_s
        self._capacity = capacity
        self._left: OrderedDict[Wanted, deque[float]] = OrderedDict()
        self._refused: OrderedDict[Wanted, float] = OrderedDict()

    def __len__(self) -> int:
        """How many pods are remembered."""
        return len(self._left)

    def was_refused(self, pod: Pod, namespace: str, now_s: float) -> bool:
        """Say whether this pod, as it arrives, has been refused with an agent before.

        A pod that carries our agent is not coming back; it is seen twice in one request.
        """
        wanted = wanted_of(pod, namespace)
        if wanted is None or has_our_agent(pod):
            return False
        if wanted.owner_uid:
            return self._count(wanted, now_s) + 1 >= UNNAMED_ATTEMPTS
        refused_s = self._refused.get(wanted)
        is_known = refused_s is not None and now_s - refused_s < VERDICT_S
        return is_known or self._count(wanted, now_s) + 1 >= ATTEMPTS

    def note_refused(self, pod: Pod, namespace: str, now_s: float, *, dry_run: bool) -> None:
        """Keep the verdict on a pod that was let in as it came; a dry run leaves nothing."""
        wanted = wanted_of(pod, namespace)
        if wanted is None or wanted.owner_uid or dry_run:
            return
        self._refused[wanted] = now_s
        self._refused.move_to_end(wanted)
        if len(self._refused) > self._capacity:
            self._refused.popitem(last=False)

    def note_injected(self, pod: Pod, namespace: str, now_s: float, *, dry_run: bool) -> None:
        """Remember that this pod, as it arrived, was given an agent; a dry run leaves nothing."""
        wanted = wanted_of(pod, namespace)
        if wanted is None or dry_run or has_our_agent(pod):
            return
        times = self._left.setdefault(wanted, deque(maxlen=UNNAMED_ATTEMPTS))
        times.append(now_s)
        self._left.move_to_end(wanted)
        self._forget(now_s)

    def _count(self, wanted: Wanted, now_s: float) -> int:
        return sum(now_s - at_s < self._window_s for at_s in self._left.get(wanted, ()))

    def _forget(self, now_s: float) -> None:
        while self._left:
            oldest = next(iter(self._left))
            is_old = now_s - self._left[oldest][-1] >= self._window_s
            if not is_old and len(self._left) <= self._capacity:
                return
            del self._left[oldest]
