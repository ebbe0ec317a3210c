# SPDX-License-Identifier: Apache-2.0
"""Every defect that was found in the first agent has a test that names it (A1, A2, …)."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOUND = range(1, 33)


def named(text: str) -> set[int]:
    """Return the numbers of the defects that a test file names, in a test's name or a docstring."""
    in_words = re.findall(r"\bA(\d{1,2})\b", text)
    in_names = re.findall(r"def test_a(\d{1,2})_", text)
    return {int(number) for number in (*in_words, *in_names)}


def test_every_defect_of_the_agent_has_its_test() -> None:
    folders = ("tests/agent", "tests/protocol", "tests/meta")
    files = [path for folder in folders for path in (ROOT / folder).rglob("test_*.py")]
    texts = [path.read_text() for path in files if path != Path(__file__)]

    assert sorted(set(FOUND) - set().union(*map(named, texts))) == []


def test_a_test_that_goes_is_missed() -> None:
    assert named("def test_a9_a_cut_message(): ...\n'''A30: pins'''\nX1A2 def test_all()") == {
        9,
        30,
    }
