# SPDX-License-Identifier: Apache-2.0
"""Roles and tiers of nodes, and the one meaning of a filter by them.

The one idea: `ROLE_DATA`, `data`, `hot` and `datanode-hot` are forms of the same two words, so a
filter and a node are brought to these words before they are compared.
"""

import re
from collections.abc import Iterable
from typing import Final

from fodc_protocol.errors import BadRequestError, shown
from fodc_protocol.lean import dataclass

KNOWN_ROLES: Final = ("data", "liaison", "meta", "unspecified")
KNOWN_TIERS: Final = ("hot", "warm", "cold")
_NODE_FORM: Final = re.compile(r"(?P<role>data|liaison|meta)(?:node)?(?:-(?P<tier>.+))?")


@dataclass(frozen=True, slots=True)
class RoleAndTier:
    """Role and tier in their plain forms, such as ("data", "hot"); empty where there is none."""

    role: str = ""
    tier: str = ""


def plain(role: str, tier: str = "") -> RoleAndTier:
    """Return the plain forms of what a node or a person calls role and tier.

    A role may name the tier too ("datanode-hot"); a tier that is told beside it comes first.
    """
    word = role.strip().lower().removeprefix("role_")
    told = tier.strip().lower()
    found = _NODE_FORM.fullmatch(word)
    if found is None:
        return RoleAndTier(word, told)
    return RoleAndTier(found["role"], told or found["tier"] or "")


@dataclass(frozen=True, slots=True)
class RoleFilter:
    """Which nodes are meant; an empty part chooses everything."""

    wanted: RoleAndTier = RoleAndTier()

    @property
    def is_all(self) -> bool:
        """Whether every node is meant."""
        return self.wanted == RoleAndTier()

    def fits(self, role: str, tier: str) -> bool:
        """Say whether a node of this role and tier, in any form, is meant."""
        node = plain(role, tier)
        return self.wanted.role in {"", node.role} and self.wanted.tier in {"", node.tier}


def is_called(word: str, role: str, tier: str) -> bool:
    """Say whether a node of this role and tier is one that a word such as "hot" means."""
    wanted, node = plain(word), plain(role, tier)
    return RoleFilter(wanted).fits(role, tier) or wanted == RoleAndTier(node.tier)


ANY_ROLE: Final = RoleFilter()


def role_filter(text: str, present: Iterable[tuple[str, str]] = ()) -> RoleFilter:
    """Return the filter that a text such as "data", "hot" or "datanode-hot" means.

    `present` are roles and tiers of the nodes there are, which may have words of their own. Raises
    BadRequestError, whose message goes on after the name of the field, for any other word.
    """
    nodes = [plain(role, tier) for role, tier in present]
    roles = {*KNOWN_ROLES, *(node.role for node in nodes)}
    tiers = {"", *KNOWN_TIERS, *(node.tier for node in nodes)}
    wanted = plain(text)
    if wanted.role in roles and wanted.tier in tiers:
        return RoleFilter(wanted)
    if not text.strip():
        return ANY_ROLE
    if wanted.role in tiers:
        return RoleFilter(RoleAndTier(tier=wanted.role))
    raise BadRequestError(
        f"must be a role ({_listed(roles)}), a tier ({_listed(tiers)}) or both such as "
        f"datanode-hot, got {shown(text)}"
    )


def _listed(words: Iterable[str], most: int = 12) -> str:
    found = sorted(word for word in words if word and word != "unspecified")
    return ", ".join(found[:most]) + (", …" if len(found) > most else "")
