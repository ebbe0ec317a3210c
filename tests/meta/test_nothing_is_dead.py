# SPDX-License-Identifier: Apache-2.0
"""What nobody calls is not there: public names of all programs and of the shared meaning.

By name alone, so that a namesake may hide one; what it finds is dead for certain.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
JUDGED = ("agent/src", "proto/src", "operator/src")
HELD_IN_MIND = ("agent/src", "proto/src")
CALLERS = ("agent/src", "proto/src", "proto", "operator/src", "bench", "e2e")
LONGEST_CLASS = 250
AWAITED_BY_TESTS = {"has_stream", "is_linked"}
"""What a test of the wire waits for, where its peer is told nothing."""

CALLED_BY_HTTPTOOLS = {
    "on_message_begin",
    "on_url",
    "on_header",
    "on_headers_complete",
    "on_body",
    "on_message_complete",
}


def files(*roots: str) -> Iterator[Path]:
    for root in roots:
        folder = ROOT / root
        found = folder.glob("*.py") if root == "proto" else folder.rglob("*.py")
        yield from (path for path in found if "fodc_wire" not in path.parts)


@cache
def tree_of(path: Path) -> ast.Module:
    """What a file says, read once."""
    return ast.parse(path.read_text())


def named(path: Path) -> Iterator[str]:
    """Yield every name that a file reads, texts that are names included."""
    for node in ast.walk(tree_of(path)):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                yield name
            case ast.Constant(value=str(text)) if text.isidentifier():
                yield text


def public(body: list[ast.stmt], owner: str = "") -> Iterator[tuple[str, str]]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if not node.name.startswith("_"):
                yield f"{owner}{node.name}", node.name
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{node.name}.")


def test_every_public_name_has_a_caller_outside_the_tests():
    counted = Counter(name for path in files(*CALLERS) for name in named(path))
    dead = [
        f"{path.relative_to(ROOT)}: {shown}"
        for path in files(*JUDGED)
        for shown, name in public(tree_of(path).body)
        if not counted[name] and name not in AWAITED_BY_TESTS | CALLED_BY_HTTPTOOLS
    ]
    assert dead == []


def test_no_class_of_the_agent_is_longer_than_it_can_be_held_in_mind():
    long = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in files(*HELD_IN_MIND)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef)
        and (node.end_lineno or 0) - node.lineno + 1 > LONGEST_CLASS
    ]
    assert long == []
