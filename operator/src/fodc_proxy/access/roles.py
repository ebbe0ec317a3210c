# SPDX-License-Identifier: Apache-2.0
"""Roles and the rights that they hold; pure.

The one idea: a route asks for a right, a person has roles, and this table is the only place where
the two meet. The ClusterRoles of the manifests grant the same in words of Kubernetes.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from fodc_api.words import Right
from fodc_protocol.profiles import Profile


class Role(StrEnum):
    """What a person, or a program of theirs, is to the proxy."""

    SCRAPER = "scraper"
    """Prometheus: reads the page of metrics and nothing else."""
    VIEWER = "viewer"
    PROFILER = "profiler"
    ADMIN = "admin"


_SCRAPER: Final = frozenset({Right.ANYBODY, Right.METRICS})
_VIEWER: Final = _SCRAPER | {Right.VIEW}
_PROFILER: Final = _VIEWER | {
    Right.CONFIGURATION,
    Right.CAPTURE,
    Right.CANCEL,
    Right.ARTIFACTS,
    Right.INCIDENTS,
}
_RIGHTS: Final = {
    Role.SCRAPER: _SCRAPER,
    Role.VIEWER: _VIEWER,
    Role.PROFILER: _PROFILER,
    Role.ADMIN: frozenset(Right),
}
# What lies on the heap is as telling as a shell in the pod; a trace slows a node down more than any
# profile.
_TELLING: Final = {
    Profile.HEAP: Right.HEAP,
    Profile.ALLOCS: Right.HEAP,
    Profile.TRACE: Right.TRACE,
}


def holds(roles: Iterable[Role], right: Right) -> bool:
    """Say whether one of these roles has this right."""
    return right is Right.ANYBODY or any(right in _RIGHTS[role] for role in roles)


def least_role(right: Right) -> Role:
    """Return the first role that has this right, from the least one up."""
    return next(role for role in Role if right in _RIGHTS[role])


def rights_to_capture(profiles: Iterable[Profile]) -> tuple[Right, ...]:
    """Return what these captures ask for beside the right to capture, each once."""
    found = (_TELLING[one] for one in profiles if one in _TELLING)
    return tuple(dict.fromkeys(found))


def roles_named(words: Iterable[str]) -> frozenset[Role]:
    """Return the roles among some words; others mean nothing here."""
    known = {str(role): role for role in Role}
    return frozenset(known[word] for word in words if word in known)
