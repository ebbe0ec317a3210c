# SPDX-License-Identifier: Apache-2.0
"""Which nodes a person means by names, roles and tiers, and what comes close to a wrong one; pure.

The one idea: a word means here what it means to the proxy (`fodc_protocol.roles`), and one that
means nothing is an error that names what there is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from fodc_api.cluster import Node
from fodc_api.requests import SelectorAsked
from fodc_client.errors import BadUsageError, NotFoundError
from fodc_client.suggestions import did_you_mean
from fodc_protocol.errors import BadRequestError
from fodc_protocol.roles import KNOWN_ROLES, KNOWN_TIERS, RoleFilter, plain, role_filter

_LISTED: Final = 8


def names_of(node: Node) -> tuple[str, ...]:
    """Return every name that a person may use for a node."""
    names = (node.node_id, node.agent_id, node.pod_name)
    return (*names, f"{node.namespace}/{node.pod_name}") if node.namespace else names


def node_names(nodes: Iterable[Node]) -> list[str]:
    """Return what people call the nodes."""
    return sorted(node.node_id for node in nodes)


def no_such_node(wanted: Sequence[str], known: Sequence[str]) -> NotFoundError:
    """Return the error about names that no node has, with those that come close."""
    said = f"no such node: {', '.join(wanted)}."
    if not known:
        return NotFoundError(f"{said} No agent has registered with this proxy.")
    if hint := did_you_mean(wanted[0], known):
        return NotFoundError(f"{said} {hint}")
    more = ", …" if len(known) > _LISTED else ""
    return NotFoundError(f"{said} There are: {', '.join(known[:_LISTED])}{more}")


def named(nodes: Sequence[Node], names: Sequence[str]) -> list[Node]:
    """Return the nodes of these names, all without any; raises NotFoundError for an unknown one."""
    if not names:
        return list(nodes)
    known = {name for node in nodes for name in names_of(node)}
    if unknown := [name for name in names if name not in known]:
        raise no_such_node(unknown, node_names(nodes))
    return [node for node in nodes if not set(names).isdisjoint(names_of(node))]


def filters_of(words: Iterable[str], nodes: Sequence[Node]) -> list[RoleFilter]:
    """Return what the words of `--role` mean; raises BadUsageError for one that means nothing."""
    present = [(node.role, node.tier or "") for node in nodes]
    found = []
    for word in words:
        try:
            found.append(role_filter(word, present))
        except BadRequestError as error:
            raise BadUsageError(f"--role {error.message}{role_hint(word)}") from None
    return found


def role_hint(word: str) -> str:
    """Return what a wrong word for a role was probably meant to be, to be put behind a sentence."""
    hint = did_you_mean(word, (*KNOWN_ROLES, *KNOWN_TIERS))
    return f". {hint}" if hint else ""


def of_roles(nodes: Sequence[Node], filters: Sequence[RoleFilter]) -> list[Node]:
    """Return the nodes that one of the filters means, all without any."""
    return [
        node
        for node in nodes
        if not filters or any(wanted.fits(node.role, node.tier or "") for wanted in filters)
    ]


def role_and_tier(node: Node) -> str:
    """Return role and tier as people say them: data-hot, liaison."""
    found = plain(node.role, node.tier or "")
    return "-".join(word for word in (found.role, found.tier) if word)


# ---- whom a request asks --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was said about whom to ask; `everyone` excludes the others."""

    names: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    everyone: bool = False
    include_offline: bool = False

    def check(self) -> None:
        """Raise BadUsageError when nothing is chosen, or everyone and some."""
        some = bool(self.names or self.roles or self.tiers)
        if self.everyone and some:
            raise BadUsageError("--all stands for every node; leave out --node, --role and --tier")
        if not self.everyone and not some:
            raise BadUsageError("which nodes? Say --node, --role, --tier or --all")


def selector_of(chosen: Chosen, nodes: Sequence[Node]) -> SelectorAsked:
    """Return how a request says it, held against the nodes there are.

    Raises NotFoundError where no node is meant, BadUsageError for a word that means nothing.
    """
    if chosen.everyone:
        if not nodes:
            raise NotFoundError("there is no node: no agent has registered with this proxy")
        return SelectorAsked(all=True, include_offline=chosen.include_offline)
    roles = filters_of(chosen.roles, nodes)
    tiers = _tiers_of(chosen.tiers, nodes)
    meant = of_roles(of_roles(named(nodes, chosen.names), roles), tiers)
    if not meant:
        raise NotFoundError(_nobody(chosen, nodes))
    if parts := _as_product(roles, tiers):
        return SelectorAsked(chosen.names, *parts, include_offline=chosen.include_offline)
    names = tuple(dict.fromkeys(node.node_id for node in meant))
    return SelectorAsked(names, include_offline=chosen.include_offline)


def _tiers_of(words: Sequence[str], nodes: Sequence[Node]) -> list[RoleFilter]:
    present = [("", node.tier or "") for node in nodes]
    try:
        found = [role_filter(word, present) for word in words]
    except BadRequestError:
        found = []
    if len(found) != len(words) or any(each.wanted.role or each.is_all for each in found):
        tiers = sorted({node.tier for node in nodes if node.tier})
        there = f"there are: {', '.join(tiers)}" if tiers else "no node here has one"
        raise BadUsageError(f"--tier {', '.join(words)}: no such tier; {there}")
    return found


def _as_product(
    roles: Sequence[RoleFilter], tiers: Sequence[RoleFilter]
) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return lists of roles and tiers that mean the same; None where only names can say it."""
    pairs = {(each.wanted.role, each.wanted.tier) for each in roles} or {("", "")}
    roles_said = sorted({role for role, _ in pairs})
    tiers_said = sorted({tier for _, tier in pairs})
    if set(product(roles_said, tiers_said)) != pairs:
        return None
    if tiers:
        if tiers_said != [""]:
            return None
        tiers_said = sorted({each.wanted.tier for each in tiers})
    return tuple(filter(None, roles_said)), tuple(filter(None, tiers_said))


def _nobody(chosen: Chosen, nodes: Sequence[Node]) -> str:
    said = {"--node": chosen.names, "--role": chosen.roles, "--tier": chosen.tiers}
    asked = " ".join(f"{option} {','.join(words)}" for option, words in said.items() if words)
    kinds = ", ".join(sorted({role_and_tier(node) for node in nodes}))
    return f"no node is meant by {asked}" + (f"; there are: {kinds}" if kinds else "")
