# SPDX-License-Identifier: Apache-2.0
"""The words that the programs have: families of metrics, and reasons, conditions and phases."""

import ast
import re
from functools import cache

from tests.manifests.schemas import ROOT

SOURCES = [ROOT / part / "src" for part in ("proto", "agent", "operator")]


def known_families() -> set[str]:
    """Names of families in the sources, as the calls that make them spell them."""
    sources = ROOT / "operator" / "src"
    proxy = "".join(p.read_text() for p in (sources / "fodc_proxy").rglob("*.py"))
    operator = "".join(p.read_text() for p in (sources / "fodc_operator").rglob("*.py"))
    figures = (sources / "fodc_webhook/figures.py").read_text()
    return {
        *(f"fodc_proxy_{name}" for name in re.findall(r'gauge\(\s*"(\w+)"', proxy)),
        *(f"fodc_proxy_{name}_total" for name in re.findall(r'counter\(\s*"(\w+)"', proxy)),
        *re.findall(r'"((?:banyandb_)?fodc_\w+)"', proxy),
        *(f"fodc_operator_{name}" for name in re.findall(r'gauge\(\s*"(\w+)"', operator)),
        *(f"fodc_operator_{name}_total" for name in re.findall(r'counter\(\s*"(\w+)"', operator)),
        *(
            f"fodc_webhook_{name}"
            for name in re.findall(r'_(?:gauge|counter)\(\s*"(\w+)"', figures)
        ),
    }


@cache
def literals() -> frozenset[str]:
    """Every text that stands in the sources by itself, docstrings among them."""
    trees = (ast.parse(p.read_text()) for folder in SOURCES for p in folder.rglob("*.py"))
    return frozenset(
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
