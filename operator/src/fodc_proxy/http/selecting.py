# SPDX-License-Identifier: Apache-2.0
"""From the words of a query to nodes: one meaning of role, tier and node on every route."""

from collections.abc import Sequence
from typing import Final, TypeVar

from fodc_api.requests import Selector
from fodc_protocol.errors import BadRequestError, FieldError, FodcError, Reason, shown
from fodc_protocol.roles import RoleFilter, role_filter
from fodc_proxy.fleet.membership import Member
from fodc_proxy.fleet.registry import Registry
from fodc_proxy.queries.results import Selection

T = TypeVar("T")
_MOST_TOLD: Final = 4


class UnknownNodeError(FodcError):
    """No node has this name; `field` is the parameter that named it."""

    default_reason = Reason.NOT_FOUND

    def __init__(self, field: str, text: str) -> None:
        super().__init__(
            f"{field} {shown(text)} is no registered node; see /cluster for those that are"
        )
        self.field = field


def roles_of(registry: Registry, text: str, field: str = "role") -> RoleFilter:
    """Return the filter that a word means; raises FieldError for one that means nothing."""
    try:
        return role_filter(text, ((m.role, m.tier) for m in registry.members()))
    except BadRequestError as error:
        raise FieldError(field, error.message) from None


def check_words(registry: Registry, selector: Selector) -> None:
    """Raise FieldError for a role or a tier of a request that means nothing."""
    for at, word in enumerate(selector.roles):
        roles_of(registry, word, f"target.roles[{at}]")
    for at, word in enumerate(selector.tiers):
        field = f"target.tiers[{at}]"
        if roles_of(registry, word, field).wanted.role:
            raise FieldError(field, f"must be a tier, got {shown(word)}, which names a role")


def node_of(registry: Registry, text: str) -> Member | None:
    """Return the node that `node_id` means, None for no word; raises UnknownNodeError."""
    if not text:
        return None
    member = registry.find(text)
    if member is None and (namesakes := registry.namesakes(text)):
        known = ", ".join(sorted({one.address for one in namesakes})[:_MOST_TOLD])
        raise FieldError("node_id", f"{shown(text)} is a pod of several namespaces: say {known}")
    if member is None:
        raise UnknownNodeError("node_id", text)
    return member


def known(registry: Registry, node_id: str, found: Sequence[T]) -> Sequence[T]:
    """Return what was found of a node; raises UnknownNodeError when there is nothing and no node.

    What a node left behind is shown after it has gone.
    """
    if not found:
        node_of(registry, node_id)
    return found


def selection_of(registry: Registry, role: str, pod_name: str) -> Selection:
    """Return whose values are meant; raises FieldError and UnknownNodeError."""
    selection = Selection(roles_of(registry, role), pod_name)
    by_name = Selection(pod_name=pod_name)
    if pod_name and not any(by_name.covers(member) for member in registry.members()):
        raise UnknownNodeError("pod_name", pod_name)
    return selection
