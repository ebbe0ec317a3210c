# SPDX-License-Identifier: Apache-2.0
"""Whom a round asks and on which lane, pure.

The one idea: our contract numbers its queries, so that each kind of want is a lane; the existing
one has a single file per stream, and each of its streams is a lane.
"""

from collections.abc import Iterable
from typing import Final

from fodc_protocol.errors import Reason
from fodc_protocol.link import frames
from fodc_proxy.fleet.membership import Contract, Member
from fodc_proxy.queries import plan
from fodc_proxy.queries.pages.windows import Column
from fodc_proxy.queries.results import Missing, Selection

_FODC: Final = "fodc:"
FODC_METRICS_LANE: Final = _FODC + "metrics"


def wanted(members: Iterable[Member], selection: Selection) -> list[Member]:
    """Return whom the selection covers; a dead entry beside a living one of its pod is no part."""
    covered = [member for member in members if selection.is_all or selection.covers(member)]
    living = {m.address for m in covered if m.is_living}
    return [m for m in covered if m.is_living or m.address not in living]


def cannot(member: Member, want: plan.Want) -> Missing | None:
    """Return why a member cannot be asked at all, None when it can."""
    if not member.is_living:
        return Missing(member, Reason.OFFLINE, "the agent is not connected")
    if isinstance(want, plan.Settings) and member.contract is Contract.FODC:
        message = "an agent of the existing contract cannot tell its configuration"
        return Missing(member, Reason.UNSUPPORTED, message)
    return None


def name_of(want: plan.Want) -> str:
    """Return the word for a want in lanes and in label `kind`."""
    return want.kind if isinstance(want, plan.Evidence) else type(want).__name__


def kind_of(value: object) -> str:
    """Return the word for the want that this value answers."""
    match value:
        case frames.Configuration():
            return plan.Settings.__name__
        case ():
            return plan.Latest.__name__
        case (Column(), *_):
            return plan.Window.__name__
        case tuple():
            return plan.Latest.__name__
        case _:
            return type(value).__name__


def lane_of(contract: Contract, want: plan.Want) -> str:
    """Return the lane on which agents of this contract are asked."""
    if contract is Contract.LINK:
        return name_of(want)
    return fodc_lane(want.kind) if isinstance(want, plan.Evidence) else FODC_METRICS_LANE


def fodc_lane(kind: plan.Kind) -> str:
    """Return the lane of a stream of the existing contract."""
    return _FODC + kind


def contract_of(lane: str) -> Contract:
    """Return whose lane it is."""
    return Contract.FODC if lane.startswith(_FODC) else Contract.LINK
