# SPDX-License-Identifier: Apache-2.0
"""The rules of membership: who is in, who is living, who took over from whom.

The one idea: a member is a frozen value, every input returns the transitions that it caused, and
nothing here reads a clock or makes an id. Silence is measured by a steady clock, whatever becomes
of the time of day, which is kept for people. Rules: upstream-proxy §4 without its faults. A member
is Online or Degraded while its registration stream lives, Offline when that stream ended or was
silent for strictly more than the heartbeat timeout, and gone strictly after the cleanup timeout.

Who takes over from whom.  A pod has one agent, so a registration supersedes the older entry of
the same namespace and pod at once. One exception keeps a workflow of the existing proxy (I05):
living agents of one pod name with *different known roles* stay beside each other, because a
development set-up runs several nodes under one pod name. An unspecified role differs from nothing,
and an entry whose stream ended is superseded whatever its role.

Two living agents of one pod would take it from each other for ever. The newer one keeps it: an
agent that was superseded and is heard again, while its successor lives, is a *rival*. It is not let
in, and the member's condition says so until nothing has been heard of a rival for the cleanup
timeout.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from fodc_protocol.errors import Reason
from fodc_protocol.link import frames
from fodc_protocol.metrics.samples import Labels
from fodc_proxy.fleet.errors import RegistrationError, UnknownAgentError, full_namespace
from fodc_proxy.fleet.limits import Limits
from fodc_proxy.fleet.moment import Moment
from fodc_proxy.fleet.naming import address_of, newest_of
from fodc_proxy.fleet.proving import UNAUTHENTICATED, UNPROVEN, Authority, ProvenPods, add

ROLE_UNSPECIFIED: Final = "ROLE_UNSPECIFIED"
_MOST_RIVALS: Final = 8
_UNKNOWN_ROLES: Final = frozenset({"", ROLE_UNSPECIFIED})


class Contract(StrEnum):
    """Which of the two gRPC services the agent speaks."""

    LINK = "link"
    FODC = "fodc"


class Phase(StrEnum):
    """Where a member stands."""

    ONLINE = "Online"
    DEGRADED = "Degraded"
    """Living, and something of it is less than whole; its conditions say what."""
    OFFLINE = "Offline"


class Change(StrEnum):
    """What a transition is about."""

    REGISTERED = "Registered"
    STATE = "State"
    """Role, labels, capabilities or conditions changed; not mere figures or heartbeats."""
    PHASE = "Phase"
    SUPERSEDED = "Superseded"
    REMOVED = "Removed"


@dataclass(frozen=True, slots=True)
class Registration:
    """What an agent says of itself when it registers; equal when all of it is equal."""

    identity: frames.Identity
    state: frames.NodeState
    contract: Contract
    agent_version: str = ""
    incarnation: str = ""
    authority: Authority = UNPROVEN


@dataclass(frozen=True, slots=True)
class Member:
    """One registered agent as it is now; times in Unix milliseconds but for `heard_ms`."""

    agent_id: str
    identity: frames.Identity
    state: frames.NodeState
    contract: Contract
    phase: Phase
    registered_at_ms: int
    last_heartbeat_ms: int
    heard_ms: int = 0
    """When it was heard last, by the steady clock."""
    agent_version: str = ""
    incarnation: str = ""
    reconnects: int = 0
    conflicts: int = 0
    """How often another living agent claimed this pod."""
    conflict_ms: int = 0
    """When that happened last, by the steady clock."""
    rivals: tuple[str, ...] = ()
    """Incarnations that this one has superseded."""
    authority: Authority = UNPROVEN

    @property
    def pod_name(self) -> str:
        """Name by which people call the node."""
        return self.identity.pod_name

    @property
    def namespace(self) -> str:
        """Kubernetes namespace, empty when the contract does not tell it."""
        return self.identity.namespace

    @property
    def address(self) -> str:
        """Where frames for it go: `namespace/pod`, or the pod name without a namespace."""
        return address_of(self.identity.namespace, self.identity.pod_name)

    @property
    def role(self) -> str:
        """Present role; heartbeats may improve it."""
        return self.state.node_role

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of the node."""
        return self.state.labels

    @property
    def tier(self) -> str:
        """Data tier: label `tier`, else BanyanDB's customary label `type`, else empty."""
        return self.labels.get("tier") or self.labels.get("type", "")

    @property
    def identity_labels(self) -> Labels:
        """Labels that say whose a series is: what Prometheus's page carries on every series."""
        tiers = (f"node_{key}" for key in ("tier", "type") if self.labels.get(key))
        told = {
            "namespace": self.namespace,
            "cluster": self.identity.cluster,
            "pod_name": self.pod_name,
            "node_role": "" if self.role in _UNKNOWN_ROLES else self.role,
            **{name: self.tier for name in tiers if self.labels[name[5:]] == self.tier},
        }
        return tuple((name, value) for name, value in told.items() if value)

    @property
    def is_living(self) -> bool:
        """Whether its stream stands and it has been heard in time."""
        return self.phase is not Phase.OFFLINE

    @property
    def status(self) -> str:
        """Word of the existing proxy for the phase."""
        return "online" if self.is_living else "unconnected"

    @property
    def conditions(self) -> tuple[frames.Condition, ...]:
        """What is less than whole: the agent's own conditions, no proof, two of one pod."""
        own = self.state.conditions
        if not self.authority.is_proven:
            own = (*own, UNAUTHENTICATED)
        if not self.conflicts:
            return own
        message = (
            f"another living agent claims pod {self.pod_name}; the newest is served: "
            "give each node a pod name of its own"
        )
        conflict = frames.Condition("PodConflict", Reason.SUPERSEDED, message)
        return (*own, conflict)


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of one member; `before` is None for a first registration."""

    change: Change
    member: Member
    before: Member | None
    at_ms: int


@dataclass(frozen=True, slots=True)
class Registered:
    """Outcome of a registration; `ousted` are living members whose stream is to be ended."""

    member: Member
    ousted: tuple[Member, ...]
    transitions: tuple[Transition, ...]


@dataclass(slots=True)
class Membership:
    """All members by agent id, in order of registration."""

    limits: Limits
    conflicts: int = 0
    superseded: int = 0
    _living: int = 0
    _members: dict[str, Member] = field(default_factory=dict)
    _pods: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    _proven: ProvenPods = field(default_factory=ProvenPods)
    _namespaces: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self._members)

    # ---- reading ------------------------------------------------------------------------------

    def members(self) -> tuple[Member, ...]:
        """Return all members, living or not, in order of registration."""
        return tuple(self._members.values())

    def get(self, agent_id: str) -> Member | None:
        """Return the member with this agent id."""
        return self._members.get(agent_id)

    def find(self, node_id: str) -> Member | None:
        """Return the member with this agent id, `namespace/pod`, or pod name of one namespace."""
        return self._members.get(node_id) or newest_of(node_id, self.members())

    def living(self) -> int:
        """Return how many are not Offline; kept as they come and go, for each registration asks."""
        return self._living

    # ---- inputs -------------------------------------------------------------------------------

    def rival_of(self, registration: Registration) -> Member | None:
        """Return the living member that has superseded this very agent before."""
        mine = registration.incarnation
        older = self._superseded_by(registration)
        return next((m for m in older if m.is_living and mine and mine in m.rivals), None)

    def successor_of(self, member: Member) -> Member | None:
        """Return the living member that serves the pod of one that is no member any more."""
        known = (self._members[one] for one in self._pods.get(_pod_key(member.identity), ()))
        return next((m for m in known if m.is_living and _same_role(m.role, member.role)), None)

    def contested(self, agent_id: str, now: Moment, claims: int = 1) -> tuple[Transition, ...]:
        """Note that an agent which this member superseded has been heard: both of them live.

        `claims` is 0 where the same agent has been counted before.
        """
        before = self._known(agent_id)
        self.conflicts += claims
        again = replace(before, conflicts=before.conflicts + claims, conflict_ms=now.steady_ms)
        member = self._keep(_with_phase(again))
        return _told(before, member, now)

    def register(self, registration: Registration, agent_id: str, now: Moment) -> Registered:
        """Take an agent in under the given new id; raise RegistrationError when it may not be.

        Checks in the order of the existing proxy: limit of agents, role, pod name. Only the
        living count, and not whom this one supersedes or, when it is proven, pushes out.
        """
        older = self._superseded_by(registration)
        self._check(registration, (*older, *(pushed := self._pushed_out_by(registration, older))))
        ousted = (*(m for m in older if m.is_living), *pushed)
        contested = any(_is_conflict(m, registration) for m in older if m.is_living)
        member = _with_phase(_new_member(registration, agent_id, now, older, contested=contested))
        self.conflicts += contested
        self.superseded += len(older)
        gone = [Transition(Change.SUPERSEDED, self._drop(m), m, now.unix_ms) for m in older]
        gone += [Transition(Change.REMOVED, self._drop(m), m, now.unix_ms) for m in pushed]
        self._put(member)
        before = older[-1] if older else None
        new = Transition(Change.REGISTERED, member, before, now.unix_ms)
        return Registered(member, ousted, (*gone, new, *self._bound_offline(now)))

    def heartbeat(
        self, agent_id: str, now: Moment, state: frames.NodeState | None = None
    ) -> tuple[Transition, ...]:
        """Note that the agent lives, with its new state if it told one.

        A blank or unspecified role never replaces a known one (R33). Raises UnknownAgentError,
        also for one that was silent and whose place another has taken: it has to register.
        """
        before = self._known(agent_id)
        if not before.is_living and self.living() >= self.limits.max_agents:
            raise UnknownAgentError(agent_id)
        after = before.state if state is None else _keeping_role(state, before.role)
        heard = replace(
            before,
            state=after,
            last_heartbeat_ms=now.unix_ms,
            heard_ms=max(now.steady_ms, before.heard_ms),
        )
        member = self._keep(_with_phase(heard, living=True))
        return _told(before, member, now)

    def refresh(
        self, agent_id: str, role: str, labels: Mapping[str, str], now: Moment
    ) -> tuple[Transition, ...]:
        """Note a heartbeat of the existing contract, which repeats role and labels (R32 to R34).

        Labels are replaced together with the role only, and only when there are any.
        """
        state = self._known(agent_id).state
        if role in _UNKNOWN_ROLES or role == state.node_role:
            return self.heartbeat(agent_id, now)
        renewed = replace(state, node_role=role, labels=labels or state.labels)
        return self.heartbeat(agent_id, now, renewed)

    def disconnected(self, agent_id: str, now: Moment) -> tuple[Transition, ...]:
        """Note that the registration stream ended: Offline at once, kept until cleanup."""
        before = self._members.get(agent_id)
        return () if before is None else self._offline(before, now)

    def unregister(self, agent_id: str, now: Moment) -> tuple[Transition, ...]:
        """Remove a member at once; raises UnknownAgentError (R06, R07)."""
        member = self._known(agent_id)
        self._drop(member)
        return (Transition(Change.REMOVED, member, member, now.unix_ms),)

    def tick(self, now: Moment) -> tuple[Transition, ...]:
        """Apply the timeouts, both strictly greater (R19, R20), and let old conflicts fade."""
        transitions: list[Transition] = []
        for member in tuple(self._members.values()):
            silent_ms = now.steady_ms - member.heard_ms
            calm_ms = now.steady_ms - member.conflict_ms
            if silent_ms > self.limits.cleanup_timeout_ms:
                transitions += self.unregister(member.agent_id, now)
            elif silent_ms > self.limits.heartbeat_timeout_ms:
                transitions += self._offline(member, now)
            elif member.conflicts and calm_ms > self.limits.cleanup_timeout_ms:
                calm = self._keep(_with_phase(replace(member, conflicts=0, conflict_ms=0)))
                transitions += _told(member, calm, now)
        return tuple(transitions)

    # ---- inside -------------------------------------------------------------------------------

    def _check(self, registration: Registration, older: Iterable[Member]) -> None:
        limit, ousted = self.limits.max_agents, sum(m.is_living for m in older)
        if self.living() - ousted >= limit:
            raise RegistrationError(
                f"maximum number of agents ({limit}) reached", reason=Reason.QUOTA_EXCEEDED
            )
        self._check_namespace(registration.identity.namespace, older)
        if not registration.state.node_role:
            raise RegistrationError("node role cannot be empty")
        if not registration.identity.pod_name:
            raise RegistrationError("pod name cannot be empty")

    def _pushed_out_by(
        self, registration: Registration, older: Sequence[Member]
    ) -> tuple[Member, ...]:
        limit, ousted = self.limits.max_agents, sum(m.is_living for m in older)
        if not registration.authority.is_proven or self.living() - ousted < limit:
            return ()
        strangers = [m for m in self._members.values() if m.is_living and not m.authority.is_proven]
        return tuple(m for m in strangers if m not in older)[-1:]

    def _check_namespace(self, namespace: str, older: Iterable[Member]) -> None:
        most = self.limits.max_agents_per_namespace
        if not most or not namespace or self._namespaces[namespace] < most:
            return
        ousted = {m.agent_id for m in older}
        there = (m for m in self._members.values() if m.namespace == namespace and m.is_living)
        if sum(m.agent_id not in ousted for m in there) >= most:
            raise full_namespace(namespace, most)

    def check_claim(self, registration: Registration) -> None:
        """Accept a claim unless somebody proven has the pod; raises RegistrationError."""
        self._proven.check(registration.authority, registration.identity)

    def _superseded_by(self, registration: Registration) -> tuple[Member, ...]:
        """Of a proven one also who has shown nothing, whatever its role, and told no namespace."""
        key, role = _pod_key(registration.identity), registration.state.node_role
        keys = {key, ("", key[1])} if registration.authority.is_proven else {key}
        older = [self._members[one] for k in sorted(keys) for one in self._pods.get(k, ())]
        is_proven = registration.authority.is_proven
        return tuple(
            m
            for m in older
            if (is_proven and not m.authority.is_proven)
            or (_pod_key(m.identity) == key and (not m.is_living or _same_role(m.role, role)))
        )

    def _known(self, agent_id: str) -> Member:
        member = self._members.get(agent_id)
        if member is None:
            raise UnknownAgentError(agent_id)
        return member

    def _keep(self, member: Member) -> Member:
        before = self._members.get(member.agent_id)
        self._living += member.is_living - (before is not None and before.is_living)
        self._members[member.agent_id] = member
        return member

    def _put(self, member: Member) -> None:
        self._keep(member)
        self._pods.setdefault(_pod_key(member.identity), []).append(member.agent_id)
        self._proven.note(member.authority, member.identity, 1)
        add(self._namespaces, member.namespace, 1)

    def _drop(self, member: Member) -> Member:
        self._living -= self._members.pop(member.agent_id).is_living
        self._proven.note(member.authority, member.identity, -1)
        add(self._namespaces, member.namespace, -1)
        key = _pod_key(member.identity)
        self._pods[key].remove(member.agent_id)
        if not self._pods[key]:
            del self._pods[key]
        return member

    def _offline(self, before: Member, now: Moment) -> tuple[Transition, ...]:
        if not before.is_living:
            return ()
        member = self._keep(replace(before, phase=Phase.OFFLINE))
        return (Transition(Change.PHASE, member, before, now.unix_ms),)

    def _bound_offline(self, now: Moment) -> list[Transition]:
        """Forget the longest silent when names without end come and go: twice the limit is kept."""
        if len(self._members) <= 2 * self.limits.max_agents:
            return []
        dead = [m for m in self._members.values() if not m.is_living]
        longest = sorted(dead, key=lambda m: m.heard_ms)[: len(dead) // 2]
        return [Transition(Change.REMOVED, self._drop(m), m, now.unix_ms) for m in longest]


def _new_member(
    registration: Registration,
    agent_id: str,
    now: Moment,
    older: Sequence[Member],
    *,
    contested: bool,
) -> Member:
    """Return the member that takes over from `older`, with what is known of the pod's agents."""
    known = (one for m in older for one in (*m.rivals, m.incarnation) if one)
    rivals = dict.fromkeys(one for one in known if one != registration.incarnation)
    latest_ms = max((m.conflict_ms for m in older), default=0)
    return Member(
        agent_id,
        registration.identity,
        registration.state,
        registration.contract,
        Phase.ONLINE,
        now.unix_ms,
        now.unix_ms,
        now.steady_ms,
        registration.agent_version,
        registration.incarnation,
        reconnects=max((m.reconnects + 1 for m in older), default=0),
        conflicts=max((m.conflicts for m in older), default=0) + contested,
        conflict_ms=now.steady_ms if contested else latest_ms,
        rivals=tuple(rivals)[-_MOST_RIVALS:],
        authority=registration.authority,
    )


def _pod_key(identity: frames.Identity) -> tuple[str, str]:
    return identity.namespace, identity.pod_name


def _same_role(one: str, other: str) -> bool:
    return one == other or one in _UNKNOWN_ROLES or other in _UNKNOWN_ROLES


def _is_conflict(old: Member, registration: Registration) -> bool:
    """Another process while the old one's stream stands; without incarnations nobody can tell."""
    return bool(old.incarnation and registration.incarnation) and (
        old.incarnation != registration.incarnation
    )


def _with_phase(member: Member, *, living: bool | None = None) -> Member:
    if not (member.is_living if living is None else living):
        return member
    degraded = bool(member.state.conditions) or member.conflicts > 0
    phase = Phase.DEGRADED if degraded else Phase.ONLINE
    return member if member.phase is phase else replace(member, phase=phase)


def _keeping_role(state: frames.NodeState, known: str) -> frames.NodeState:
    if state.node_role in _UNKNOWN_ROLES and known not in _UNKNOWN_ROLES:
        return replace(state, node_role=known)
    return state


def _told(before: Member, member: Member, now: Moment) -> tuple[Transition, ...]:
    if before.phase is not member.phase:
        return (Transition(Change.PHASE, member, before, now.unix_ms),)
    if member.state.is_news_after(before.state):
        return (Transition(Change.STATE, member, before, now.unix_ms),)
    return ()
