# SPDX-License-Identifier: Apache-2.0
"""Every defect that was found in the first version has a test that names it (A1, K2, …).

The letters are the rooms that were looked at: A agent and protocol, C command, K operator, webhook
and manifests, P proxy, T truth of tests and figures.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOUND = {"A": 32, "C": 9, "K": 22, "P": 30, "T": 8}
"""How many were found, by room."""
FOLDERS = {
    "A": ("tests/agent", "tests/protocol", "tests/meta"),
    "C": ("tests/client", "e2e"),
    "K": ("tests/kube", "tests/manifests", "tests/operator", "tests/webhook", "e2e"),
    "P": ("tests/api", "tests/interop", "tests/protocol", "tests/proxy", "e2e"),
    "T": ("tests", "e2e"),
}


def named(room: str, text: str) -> set[int]:
    """Return the numbers of the defects that a test file names, in a test's name or a docstring."""
    in_words = re.findall(rf"\b{room}(\d{{1,2}})\b", text)
    in_names = re.findall(rf"def test_{room.lower()}(\d{{1,2}})_", text)
    return {int(number) for number in (*in_words, *in_names)}


@pytest.mark.parametrize("room", FOUND)
def test_every_defect_has_its_test(room: str) -> None:
    files = [path for folder in FOLDERS[room] for path in (ROOT / folder).rglob("test_*.py")]
    texts = [path.read_text() for path in files if path != Path(__file__)]
    missing = set(range(1, FOUND[room] + 1)).difference(*(named(room, one) for one in texts))

    assert sorted(missing) == []


def test_a_test_that_goes_is_missed() -> None:
    text = "def test_a9_a_cut_message(): ...\n'''A30: pins, K4'''\nX1A2 def test_all()"

    assert (named("A", text), named("K", text)) == ({9, 30}, {4})
