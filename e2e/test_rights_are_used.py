# SPDX-License-Identifier: Apache-2.0
"""Runs last: every right of the manifests was used by a test that came before it."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.applied import render, rules_of
from e2e.controlplane import auditing
from e2e.controlplane.auditing import Use
from e2e.controlplane.cluster import ControlPlane
from e2e.kubelet import installation

# What no server here lets them do: each with the reason.
NOT_HERE = {
    # Asked below Kubernetes 1.32 only, where a kubelet may be too old for native sidecars.
    ("list", "", "nodes"),
}


def granted(rendered: list[dict[str, Any]]) -> Iterator[Use]:
    """Yield each right that is bound to one of our accounts."""
    for account in auditing.ACCOUNTS:
        for _, rule in rules_of(rendered, account.rpartition(":")[2]):
            for group, resource, verb in itertools.product(
                rule["apiGroups"], rule["resources"], rule["verbs"]
            ):
                yield Use(account, verb, group, resource)


def files_of_the_suite() -> list[Path]:
    """Return the test files of this folder but for those that want Docker."""
    here = Path(__file__).parent
    return [one for one in here.rglob("test_*.py") if one.parent != here / "kind"]


def test_every_right_of_the_manifests_was_seen_used(
    control_plane: ControlPlane,
) -> None:
    """Defect K6: rights stood in the manifests that nothing used, and the test was a hand list."""
    missed = sorted(path.name for path in files_of_the_suite() if not auditing.ran(path))
    if missed:
        pytest.skip(f"only after the whole suite: {', '.join(missed[:3])} did not run")
    if without := installation.reasons_against():
        pytest.skip(f"only after the tests on a real kubelet: {'; '.join(without)}")
    used = auditing.used()
    unused = sorted(
        use
        for use in granted(render(control_plane, "overlays/default"))
        if (use.verb, use.group, use.resource) not in NOT_HERE and use not in used
    )
    assert [str(use) for use in unused] == []
