# SPDX-License-Identifier: Apache-2.0
"""No text for people names a condition, reason or family that no program has.

The one idea: such a word is in CamelCase, so it is one that stands in the sources, a kind, or one
of the few names of other people's things below.
"""

import functools
import re
from pathlib import Path

import pytest
import yaml

from tests.manifests.schemas import CRDS, EXAMPLES, READ_BACK, ROOT, kinds
from tests.manifests.words import known_families, literals

MONITORING = ROOT / "manifests" / "components" / "monitoring"
RULES = MONITORING / "rules.yaml"
TEXTS = [
    ROOT / "README.md",
    ROOT / "manifests" / "README.md",
    RULES,
    *sorted(CRDS.glob("*.yaml")),
    *EXAMPLES,
    *READ_BACK,
]
WORD = re.compile(r"\b[A-Z][a-z]+(?:[A-Z][a-z]*)+\b")
FAMILY = re.compile(r"\b(?:banyandb_)?fodc_(?:proxy|operator|webhook|schema|agent)_[a-z_]+\b")
# What Kubernetes and others call their things.
FOREIGN = {
    "BanyanDB",
    "ClusterRole",
    "ClusterRoleBinding",
    "RoleBinding",
    "CustomResourceDefinition",
    "CycloneDX",
    "LimitNOFILE",
    "LimitRange",
    "MinIO",
    "OpenMetrics",
    "PodMonitor",
    "PrometheusRule",
    "ServiceMonitor",
    "SkyWalking",
}


@functools.cache
def ours() -> frozenset[str]:
    """Kinds and alerts."""
    names = {kind.name for kind in kinds()}
    groups = yaml.safe_load(RULES.read_text())["spec"]["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"]}
    return frozenset(names | {f"{name}List" for name in names} | alerts)


def unknown_words(text: str) -> list[str]:
    known = literals() | FOREIGN | ours()
    found = {word for word in WORD.findall(text) if not {word, word.removesuffix("s")} & known}
    return sorted(found)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_text_names_no_condition_or_reason_that_does_not_exist(path: Path) -> None:
    assert unknown_words(path.read_text()) == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_text_names_no_family_that_does_not_exist(path: Path) -> None:
    told = set(FAMILY.findall(path.read_text()))

    assert told - known_families() == set()


def test_a_wrong_word_is_found() -> None:
    assert unknown_words("the condition PodsMissing, the reason OlderThanPolicy") == ["PodsMissing"]
