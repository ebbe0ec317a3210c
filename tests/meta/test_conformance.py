# SPDX-License-Identifier: Apache-2.0
"""Each numbered rule of the existing programs has a test that names it, or a row that says why not.

The rows stand in docs/differences.md. A case is named in a test function (`test_r01_…`,
`test_t_parse_11_12_…`), in its docstring, or beside one of its parameters; a docstring may name a
range (`T-PARSE-05..09`, `R24–R28`).
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
DIFFERENCES = ROOT / "docs" / "differences.md"
CASE = r"(?:T-[A-Z]+-|[RGHMICLAKSPQXFD])\d{2}"
RANGE = re.compile(rf"({CASE})\s*(?:\.\.|–|to|-)\s*({CASE}|\d{{2}})")
LIST = re.compile(rf"({CASE})((?:\s*[/,]\s*\d{{2}})+)")
SINGLE = re.compile(CASE)
CASES_IN_NAME = re.compile(r"_t_[a-z]+(?:_\d{2})+(?=_|$)|_[rghmiclakspqxfd]\d{2}(?:_\d{2})*(?=_|$)")


def span(prefix: str, first: int, last: int) -> list[str]:
    return [f"{prefix}{number:02}" for number in range(first, last + 1)]


REQUIRED = [
    *span("R", 1, 34),
    *span("G", 1, 17),
    *span("H", 1, 18),
    *span("M", 1, 18),
    *span("I", 1, 15),
    *span("C", 1, 5),
    *span("L", 1, 11),
    *span("A", 1, 18),
    *span("K", 1, 22),
    *span("S", 1, 7),
    *span("T-CK-", 1, 21),
    *span("T-CL-", 1, 17),
    *span("P", 1, 8),
    *span("Q", 1, 3),
    "X01",
    *span("F", 1, 6),
    *span("D", 1, 4),
    *span("T-PARSE-", 1, 39),
    *span("T-KEY-", 1, 5),
    *span("T-RB-", 1, 22),
    *span("T-DS-", 1, 11),
    *span("T-FR-", 1, 11),
    *span("T-WD-", 1, 27),
    *span("T-PX-", 1, 17),
    *span("T-CMD-", 1, 10),
    *span("T-EXP-", 1, 7),
    *span("T-SRV-", 1, 9),
    *span("T-PD-", 1, 18),
    *span("T-CR-", 1, 15),
    *span("T-PP-", 1, 11),
    *span("T-LC-", 1, 12),
    *span("T-SC-", 1, 6),
    *span("T-FP-", 1, 6),
    *span("T-DR-", 1, 4),
]


def cases_in_text(text: str) -> Iterator[str]:
    """Every case id that a text names, ranges and lists spelled out."""
    yield from SINGLE.findall(text)
    for first, last in RANGE.findall(text):
        prefix = first[:-2]
        yield from span(prefix, int(first[-2:]), int(last[-2:]))
    for first, others in LIST.findall(text):
        yield from (f"{first[:-2]}{number}" for number in re.findall(r"\d{2}", others))


def cases_in_name(name: str) -> Iterator[str]:
    """`test_r01_r02_x` names R01 and R02, `test_t_parse_11_12_x` two of T-PARSE."""
    for case in CASES_IN_NAME.findall(f"_{name}"):
        numbers = re.findall(r"\d{2}", case)
        prefix = case[1 : case.index(numbers[0])].upper().replace("_", "-")
        yield from (f"{prefix}{number}" for number in numbers)


def source_of(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> str:
    """The text of a test from its first decorator to its end, comments included."""
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return "\n".join(lines[first - 1 : node.end_lineno])


@cache
def named() -> frozenset[str]:
    found: set[str] = set()
    for path in (*ROOT.glob("tests/**/test_*.py"), *ROOT.glob("e2e/**/test_*.py")):
        if path == Path(__file__):
            continue
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and "test" in node.name:
                found.update(cases_in_name(node.name))
                found.update(cases_in_text(source_of(node, text.splitlines())))
    return frozenset(found)


def test_names_and_docstrings_are_read_as_their_author_meant_them() -> None:
    assert list(cases_in_name("test_r01_r02_new_registry")) == ["R01", "R02"]
    assert list(cases_in_name("test_t_parse_11_12_escapes")) == ["T-PARSE-11", "T-PARSE-12"]
    assert list(cases_in_name("test_t_parse_13_empty_braces")) == ["T-PARSE-13"]
    assert set(cases_in_text("T-PARSE-05..07 and R24–R26, T-DS-01/03")) == {
        *span("T-PARSE-", 5, 7),
        *span("R", 24, 26),
        "T-DS-01",
        "T-DS-03",
    }


@cache
def differences() -> dict[str, tuple[str, str]]:
    """What the existing programs do and what stands in its place, by case."""
    rows = [line.strip("| ").split(" | ") for line in DIFFERENCES.read_text().splitlines()]
    told = [row for row in rows if len(row) == 3 and SINGLE.match(row[0])]
    return {case: (row[1], row[2]) for row in told for case in cases_in_text(row[0])}


def test_every_case_of_the_existing_programs_has_a_test_or_a_row_of_differences() -> None:
    missing = [case for case in REQUIRED if case not in named() and case not in differences()]

    assert missing == []


def test_a_row_of_differences_is_of_a_known_case_that_no_test_has_and_says_both_sides() -> None:
    assert [case for case in differences() if case not in REQUIRED] == []
    assert [case for case in differences() if case in named()] == []
    assert [case for case, sides in differences().items() if not all(sides)] == []
    assert len(differences()) == 24
