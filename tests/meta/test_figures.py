# SPDX-License-Identifier: Apache-2.0
"""What is measured, what README shows and what a benchmark gives have the same names (T2)."""

import importlib
from pathlib import Path

import pytest

from bench.figures import Figure, held_against
from bench.peers import told_of
from bench.readme import BEGIN, END, README, ROWS, table
from bench.run import CATALOG

NAMES = [name for names in CATALOG.values() for name in names]


def test_every_measured_name_has_a_row_in_the_readme_and_no_row_lacks_its_measurement() -> None:
    assert sorted(ROWS) == sorted(NAMES)
    assert len(NAMES) == len(set(NAMES))


@pytest.mark.parametrize("module", CATALOG)
def test_every_module_of_the_catalogue_can_be_run(module: str) -> None:
    assert callable(importlib.import_module(f"bench.{module}").run)


def test_readme_has_the_place_of_the_table() -> None:
    text = Path(README).read_text()

    assert text.count(BEGIN) == text.count(END) == 1
    assert text.index(BEGIN) < text.index(END)


def test_a_beat_without_an_answer_took_the_whole_deadline() -> None:
    """T1: such beats left the sample, and none at all was a pass."""
    told = told_of([0.001] * 97, 100)

    assert (told["sent"], told["missing"], told["p50_ms"]) == (100, 3, 1.0)
    assert told["p99_ms"] == told_of([], 1)["p99_ms"] == 10_000.0


def test_a_figure_is_judged_by_its_ratio_where_it_has_one() -> None:
    slow = held_against(0.5, "s", 10, "how", base=0.04, of="a join")
    fast = Figure(1.3, "ms", 40, "how", 72.0, "its speed", at_least=True)

    assert (slow.times, slow.is_met, fast.is_met) == (12.5, False, True)
    assert Figure(45.0, "MiB", 45, "how").is_met


def test_the_table_says_what_was_missed_and_when_it_was_taken() -> None:
    """T7: figures stood without their machine, their load and their day."""
    slow = held_against(0.5, "s", 10, "how", base=0.04, of="a join")
    found = {"metrics_page_link_s": {**slow.as_json(), "day": "2026-11-29", "load": 1.5}}

    assert table(found).splitlines() == [
        "Taken on 2026-11-29, 2 cores, load average 1.5 to 1.5.",
        "",
        "| name | what | ours | held against | Go |",
        "|---|---|---|---|---|",
        (
            "| `metrics_page_link_s` | `/metrics`, 100 agents × 2,000 series, our link, warm "
            "| 0.5 s | 12.5 × a join (0.04 s), goal ≤ 10, **missed** | – |"
        ),
    ]


def test_a_row_that_was_not_measured_again_stays() -> None:
    found = {"storm_lost": {"value": 0, "unit": "agents", "goal": 0}}

    lines = table(found, {"storm_s": "| `storm_s` | as it was |", "gone": "| `gone` |"})

    assert [line.split("`")[1] for line in lines.splitlines() if "`" in line] == [
        "storm_lost",
        "storm_s",
    ]
