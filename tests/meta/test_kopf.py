# SPDX-License-Identifier: Apache-2.0
"""kopf is imported under `handlers` only, and what it can do is done by it.

Import contracts name packages one by one, so a new one would not be held; this reads every file.
"""

import ast
import re
from pathlib import Path

SOURCES = Path(__file__).parents[2]
PROGRAMS = SOURCES / "operator" / "src"
OURS = ("FODC_NODE", "FODC_INJECTION", "DIAGNOSTIC_REQUEST")
KEPT_BY_HAND = re.compile(r"\bInformer\(\s*[\w.]+,\s*(?:[\w.]+\.)?(\w+)")


def imports(text: str) -> set[str]:
    """Return the first words of what a file imports."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {one.name.partition(".")[0] for one in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).partition(".")[0])
    return found


def files() -> list[Path]:
    roots = ("agent/src", "operator/src", "proto/src")
    return [one for root in roots for one in (SOURCES / root).rglob("*.py")]


def test_kopf_is_imported_under_handlers_and_nowhere_else() -> None:
    importing = {
        str(one.relative_to(PROGRAMS).parent)
        for one in files()
        if "kopf" in imports(one.read_text())
    }

    assert importing == {"fodc_operator/handlers", "fodc_webhook/handlers"}


def test_no_watch_of_our_own_is_of_a_kind_of_ours() -> None:
    """Events of custom resources come by kopf; other kinds may have an informer."""
    watched = {
        (one.stem, kind)
        for one in PROGRAMS.rglob("*.py")
        for kind in KEPT_BY_HAND.findall(one.read_text())
    }

    assert watched != set()
    assert {(stem, kind) for stem, kind in watched if kind in OURS} == set()


def test_an_import_in_any_form_is_seen() -> None:
    assert imports("import kopf.testing as k") == {"kopf"}
    assert imports("def f():\n    from kopf._core import x") == {"kopf"}
    assert KEPT_BY_HAND.findall("Informer(\n  self.a, kinds.POD, Sel())") == ["POD"]
