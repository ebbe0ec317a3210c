# SPDX-License-Identifier: Apache-2.0
"""What changed at nodes lately, as far as their agents tell it; pure.

The one idea: most incidents follow a change, so the last few changes of each node are at hand when
one opens.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from fodc_proxy.evidence.configurations.history import Change as Setting
from fodc_proxy.evidence.incidents.model import MOST_CHANGES
from fodc_proxy.evidence.incidents.model import Change as NodeChange
from fodc_proxy.fleet.membership import Change, Member, Transition

SPAN_MS: Final = 3600 * 1000
_MOST_NODES: Final = 5_000

_VALUE_CHARACTERS: Final = 80

ChangesBefore: TypeAlias = Callable[[str, int, int], Iterable[Setting]]
"""Who knows which settings of a node changed (address, time, span in ms)."""


def of_settings(changed: Iterable[Setting]) -> tuple[NodeChange, ...]:
    """Return the settings that changed in words; their secrets are masked where they were read."""
    return tuple(
        NodeChange(
            one.at_ms, f"setting {one.name}: {_shown(one.before)} became {_shown(one.after)}"
        )
        for one in changed
    )


def _shown(value: str | None) -> str:
    return "(not set)" if value is None else repr(value[:_VALUE_CHARACTERS])


@dataclass(slots=True)
class History:
    """The last changes of each node."""

    _nodes: "OrderedDict[str, deque[NodeChange]]" = field(default_factory=OrderedDict)

    def note(self, transition: Transition) -> None:
        """Take in what became of a member."""
        for what in _told(transition):
            self._add(transition.member.address, NodeChange(transition.at_ms, what))

    def _add(self, address: str, change: NodeChange) -> None:
        kept = self._nodes.setdefault(address, deque(maxlen=MOST_CHANGES))
        kept.append(change)
        self._nodes.move_to_end(address)
        while len(self._nodes) > _MOST_NODES:
            self._nodes.popitem(last=False)

    def before(self, address: str, at_ms: int, span_ms: int = SPAN_MS) -> tuple[NodeChange, ...]:
        """Return what changed at a node in the time before."""
        kept = self._nodes.get(address, ())
        return tuple(one for one in kept if at_ms - span_ms <= one.at_ms < at_ms)


def _told(transition: Transition) -> Iterable[str]:
    member, before = transition.member, transition.before
    match transition.change:
        case Change.REGISTERED if before is None:
            yield f"an agent registered, version {member.agent_version or 'unknown'}"
        case Change.REGISTERED if before is not None:
            yield from _registered_again(member, before)
        case Change.STATE if before is not None:
            yield from _state_changed(member, before)
        case _:
            return


def _registered_again(member: Member, before: Member) -> Iterable[str]:
    if member.agent_version != before.agent_version:
        yield f"agent {before.agent_version or 'unknown'} became {member.agent_version}"
    elif member.incarnation != before.incarnation:
        yield "the agent was restarted"
    if member.identity.pod_uid != before.identity.pod_uid:
        yield "the pod was made anew"
    if member.identity.kubernetes_node != before.identity.kubernetes_node:
        yield f"the pod moved to {member.identity.kubernetes_node or 'another machine'}"
    yield from _state_changed(member, before)


def _state_changed(member: Member, before: Member) -> Iterable[str]:
    old, new = before.state, member.state
    if old.configuration_hash and new.configuration_hash != old.configuration_hash:
        yield "the configuration of the node changed"
    if old.node_role != new.node_role:
        yield f"role {old.node_role or 'unknown'} became {new.node_role or 'unknown'}"
