# SPDX-License-Identifier: Apache-2.0
"""How each pod of a namespace stands with the policies that select it.

The one idea: a pod without an agent is judged by asking what the webhook would do with it today.
If it would get one, it is missing its agent; if not, it is skipped, for the reason that the answer
gives. So this says nothing of its own about which pods get an agent.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, TypeAlias

from fodc_kube.pods import Pod, is_leaving, unready_since_ms
from fodc_kube.texts import time_ms
from fodc_operator.policies.agent_state import AgentState, Block, Start, agent_state
from fodc_operator.policies.suspension import Sighting
from fodc_webhook.inject import marks
from fodc_webhook.inject.outcome import Injection, Outcome, SkipReason
from fodc_webhook.inject.pod_reading import has_agent
from fodc_webhook.resources.fodc_injection import Policy

MAX_MESSAGE: Final = 256
REGISTERED_MS: Final = 60_000
"""An agent that runs has so long to register."""
STARTING: Final = "Starting"
NOT_ASKED: Final = "NotAsked"
_ENDED: Final = frozenset({"Succeeded", "Failed"})

Ask: TypeAlias = Callable[[Pod], Injection]
"""What the webhook would do with this pod, were it created now."""


class PodState(StrEnum):
    """How a pod stands, those in most trouble first."""

    FAILED = "Failed"
    """It has an agent that does not start, or that never registered."""
    MISSING = "Missing"
    REMOTE = "Remote"
    """It misses its agent, and one reaches it over the network meanwhile."""
    SKIPPED = "Skipped"
    """It would get no agent today either."""
    OUT_OF_DATE = "OutOfDate"
    INJECTED = "Injected"


_ORDER: Final[Mapping[PodState, int]] = {state: rank for rank, state in enumerate(PodState)}


class MissedReason(StrEnum):
    """Why a pod runs without its agent."""

    OLDER = "OlderThanPolicy"
    NOT_ASKED = "WebhookMissed"
    """The webhook was not asked, or its answer was not heard."""
    NOT_OPTED_IN = "NotOptedIn"
    """Neither namespace nor pod lets the API server ask the webhook."""


@dataclass(frozen=True, slots=True)
class PolicyView:
    """A policy that can be read, when it was made and the revision of what it puts in now."""

    policy: Policy
    revision: str
    created_ms: int = 0


@dataclass(frozen=True, slots=True)
class Scene:
    """What is known of one namespace besides its pods."""

    policies: Sequence[PolicyView]
    labels: Mapping[str, str]
    """Labels of the namespace."""
    ask: Ask
    now_ms: int
    is_excluded: bool = False
    """Whether the webhook is never asked for this namespace."""
    registered: Callable[[Policy, str], bool | None] = lambda _policy, _pod: None
    """Whether the agent of a pod is registered; None where that cannot be known."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One pod as one policy sees it; `lasting` says that making it anew would change nothing."""

    pod: Pod
    state: PodState
    reason: str = ""
    message: str = ""
    agent: AgentState | None = None
    is_current: bool = False
    """Whether its agent is of the policy's present revision."""
    is_lasting: bool = False

    @property
    def name(self) -> str:
        """Name of the pod."""
        return str(self.pod["metadata"]["name"])

    @property
    def uid(self) -> str:
        """UID of the pod."""
        return str(self.pod["metadata"].get("uid", ""))

    @property
    def created_ms(self) -> int:
        """When the pod was made."""
        return time_ms(self.pod["metadata"].get("creationTimestamp"))

    @property
    def is_missing(self) -> bool:
        """Whether the pod has no agent though it should."""
        return self.state in {PodState.MISSING, PodState.REMOTE}

    @property
    def is_starting(self) -> bool:
        """Whether it is not decided yet whether the agent works."""
        return self.reason == STARTING


@dataclass(frozen=True, slots=True)
class Standing:
    """All pods of one policy, those in most trouble first."""

    view: PolicyView
    entries: tuple[Entry, ...] = ()

    @property
    def injected(self) -> tuple[Entry, ...]:
        """Pods with an agent of this policy that works, or may do so in a moment."""
        return tuple(one for one in self.entries if one.agent and one.state is not PodState.FAILED)

    @property
    def missing(self) -> tuple[Entry, ...]:
        """Pods without a working agent that they should have."""
        return tuple(one for one in self.entries if one.is_missing or one.state is PodState.FAILED)

    @property
    def is_undecided(self) -> bool:
        """Whether time alone may tell more."""
        return any(one.is_starting for one in self.entries)

    def in_state(self, state: PodState) -> tuple[Entry, ...]:
        """Return the pods that stand so."""
        return tuple(one for one in self.entries if one.state is state)

    def with_remote(self, names: Iterable[str]) -> "Standing":
        """Return the same where these missing pods are reached over the network."""
        reached = frozenset(names)
        return replace(self, entries=_sorted(_reached(one, reached) for one in self.entries))


def _reached(one: Entry, names: frozenset[str]) -> Entry:
    if one.state is not PodState.MISSING or one.name not in names:
        return one
    message = f"reached over the network by fodc-remote-agent; {one.message}"
    return replace(one, state=PodState.REMOTE, message=message)


class Judging:
    """Judges the pods of a namespace a few at a time, so that other work can come between."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._entries: dict[str, list[Entry]] = {one.policy.name: [] for one in scene.policies}

    def judge(self, pods: Iterable[Pod]) -> None:
        """Add these pods; each is judged by itself."""
        for pod in pods:
            if counts(pod):
                for name, entry in _entries(pod, self._scene):
                    self._entries[name].append(entry)

    def standings(self) -> dict[str, Standing]:
        """Return how each policy stands with the pods so far, by its name."""
        return {
            view.policy.name: Standing(view, _sorted(self._entries[view.policy.name]))
            for view in self._scene.policies
        }


def standings(pods: Iterable[Pod], scene: Scene) -> dict[str, Standing]:
    """Return how each policy of a namespace stands, by its name."""
    judging = Judging(scene)
    judging.judge(pods)
    return judging.standings()


def _sorted(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda one: (_ORDER[one.state], one.name)))


def counts(pod: Pod) -> bool:
    """Say whether a pod is one that goes on: not ended, not leaving, not of a Job."""
    phase = (pod.get("status") or {}).get("phase")
    owners = pod["metadata"].get("ownerReferences") or ()
    of_job = any(one.get("kind") == "Job" for one in owners)
    return phase not in _ENDED and not is_leaving(pod) and not of_job


def _entries(pod: Pod, scene: Scene) -> Iterator[tuple[str, Entry]]:
    """Yield the names of the policies that the pod concerns, with how it stands."""
    by = _labels(pod).get(marks.INJECTED_BY, "")
    for view in scene.policies:
        if by == view.policy.name and has_agent(pod):
            yield by, _injected(pod, view, scene)
            return
    selecting = [one for one in scene.policies if _selects(one.policy, pod)]
    if selecting:
        yield from _without_agent(pod, selecting, scene)


def _selects(policy: Policy, pod: Pod) -> bool:
    named = _annotations(pod).get(marks.POLICY)
    return policy.name == named if named else policy.pod_selector.matches(_labels(pod))


# ---- pods with an agent -----------------------------------------------------------------------


def _injected(pod: Pod, view: PolicyView, scene: Scene) -> Entry:
    agent, annotations = agent_state(pod, scene.now_ms), _annotations(pod)
    has = annotations.get(marks.REVISION, "")
    entry = Entry(pod, PodState.INJECTED, agent=agent, is_current=has == view.revision)
    if agent.start is Start.BLOCKED:
        reason = str(agent.reason or Block.CREATION)
        return replace(entry, state=PodState.FAILED, reason=reason, message=agent.message)
    unregistered = _unregistered(entry, view.policy, scene)
    if unregistered is not None:
        return unregistered
    if not entry.is_current:
        text = f"has revision {has or 'unknown'}; it gets {view.revision} when it is created anew"
        return replace(entry, state=PodState.OUT_OF_DATE, reason="OlderRevision", message=text)
    note = annotations.get(marks.NOTE, "")
    return replace(entry, reason="LessThanAsked" if note else "", message=note)


def _unregistered(entry: Entry, policy: Policy, scene: Scene) -> Entry | None:
    """Say that an agent runs and the proxy has never heard of it, once it had time for that."""
    agent = entry.agent
    if agent is None or agent.start is not Start.STARTED:
        return None
    if scene.registered(policy, entry.name) is not False:
        return None
    if scene.now_ms - agent.started_ms < REGISTERED_MS:
        return replace(entry, reason=STARTING, message="the agent has not registered yet")
    text = "the agent runs and does not register with the proxy; its log says why"
    return replace(entry, state=PodState.FAILED, reason="NotRegistered", message=text)


def sightings(standing: Standing, blocked_since: Mapping[str, int]) -> tuple[Sighting, ...]:
    """Return the agents of the present revision, for the question whether agents start.

    `blocked_since` has, by pod UID, since when the operator has seen an agent not running.
    """
    return tuple(
        Sighting(
            one.name,
            one.agent,
            one.created_ms,
            blocked_since.get(one.uid, 0),
            unready_since_ms(one.pod),
        )
        for one in standing.entries
        if one.agent is not None and one.is_current
    )


def left_out_ms(standing: Standing) -> int:
    """Return when the last pod was made that was let in while the policy was suspended, or 0."""
    said = f"{SkipReason.SUSPENDED}:"
    left_out = (
        one
        for one in standing.entries
        if _annotations(one.pod).get(marks.SKIPPED, "").startswith(said)
    )
    return max((one.created_ms for one in left_out), default=0)


def blocked_since(
    standings_: Iterable[Standing], before: Mapping[str, int], now_ms: int
) -> dict[str, int]:
    """Return since when which agents were seen not running, by pod UID.

    Between two attempts of the kubelet an agent is `Starting` again: that ends nothing, and begins
    nothing either.
    """
    found: dict[str, int] = {}
    for one in (entry for standing in standings_ for entry in standing.entries):
        start = one.agent.start if one.agent else Start.STARTED
        if start is Start.BLOCKED or (start is Start.STARTING and one.uid in before):
            found[one.uid] = before.get(one.uid, now_ms)
    return found


# ---- pods without an agent --------------------------------------------------------------------


def _without_agent(
    pod: Pod, selecting: Sequence[PolicyView], scene: Scene
) -> Iterator[tuple[str, Entry]]:
    labels = _labels(pod)
    if labels.get(marks.OPT_IN_LABEL) == marks.DISABLED:
        message = f"the pod has the label {marks.OPT_IN_LABEL}={marks.DISABLED}"
        yield from _skipped(pod, selecting, SkipReason.OPTED_OUT, message)
        return
    if not is_opted_in(labels, scene):
        yield from _skipped(pod, selecting, MissedReason.NOT_OPTED_IN, _how_to_opt_in(scene))
        return
    answer = scene.ask(pod)
    chosen = [one for one in selecting if one.policy.name == answer.policy]
    if answer.outcome is Outcome.INJECTED:
        yield from ((one.policy.name, _missing(pod, one)) for one in chosen)
        return
    why = answer.reason or SkipReason.FAILED
    yield from _skipped(pod, chosen or selecting, why, answer.message)


def is_opted_in(labels: Mapping[str, str], scene: Scene) -> bool:
    """Say whether the API server asks the webhook about a pod with these labels."""
    said = labels.get(marks.OPT_IN_LABEL)
    if scene.is_excluded or said == marks.DISABLED:
        return False
    return marks.ENABLED in {said, scene.labels.get(marks.OPT_IN_LABEL)}


def _how_to_opt_in(scene: Scene) -> str:
    if scene.is_excluded:
        return "pods of this namespace never get an agent"
    wanted = f"{marks.OPT_IN_LABEL}={marks.ENABLED}"
    return f"neither the namespace nor the pod has the label {wanted}"


def _skipped(
    pod: Pod, views: Iterable[PolicyView], reason: StrEnum, message: str
) -> Iterator[tuple[str, Entry]]:
    entry = Entry(pod, PodState.SKIPPED, str(reason), message, is_lasting=True)
    yield from ((one.policy.name, entry) for one in views)


_REFUSALS: Final = frozenset({str(SkipReason.REFUSED_BEFORE), str(SkipReason.FAILED)})
"""Made anew, the pod would most likely come back without an agent again."""


def _missing(pod: Pod, view: PolicyView) -> Entry:
    entry = Entry(pod, PodState.MISSING)
    said = _annotations(pod).get(marks.SKIPPED, "")
    reason, _, message = said.partition(": ")
    if reason and message:
        return replace(entry, reason=reason, message=message, is_lasting=reason in _REFUSALS)
    if entry.created_ms < view.created_ms:
        text = "the pod is older than the policy; it gets its agent when it is created anew"
        return replace(entry, reason=MissedReason.OLDER, message=text)
    text = "the webhook did not hear of the pod; it gets its agent when it is created anew"
    return replace(entry, reason=MissedReason.NOT_ASKED, message=text)


# ---- reading pods -----------------------------------------------------------------------------


def _labels(pod: Pod) -> Mapping[str, Any]:
    return pod["metadata"].get("labels") or {}


def _annotations(pod: Pod) -> Mapping[str, Any]:
    return pod["metadata"].get("annotations") or {}


@dataclass(frozen=True, slots=True)
class Remote:
    """How the remote agent stands to a policy, as a condition says it."""

    status: str = "False"
    reason: str = NOT_ASKED
    message: str = "spec.attachRemotely does not ask for it"
    names: frozenset[str] = field(default_factory=frozenset)
    """Pods that it has reached."""
