# SPDX-License-Identifier: Apache-2.0
"""Quantities are read exactly and written as Kubernetes writes them."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_webhook.resources.quantities import format_bytes, format_cpu, parse_quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", Fraction(1)),
        ("0.5", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("5.", Fraction(5)),
        ("250m", Fraction(1, 4)),
        ("100u", Fraction(1, 10_000)),
        ("1n", Fraction(1, 10**9)),
        ("2k", Fraction(2000)),
        ("1Ki", Fraction(1024)),
        ("1.5Gi", Fraction(3 * 2**29)),
        ("1E", Fraction(10**18)),
        ("1Ei", Fraction(2**60)),
        ("129e6", Fraction(129_000_000)),
        ("1E3", Fraction(1000)),
        ("2e-3", Fraction(1, 500)),
        ("-1", Fraction(-1)),
        (4, Fraction(4)),
    ],
)
def test_a_quantity_is_read_exactly(text: object, value: Fraction) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize("text", ["", "x", "1 Gi", "1gi", "1K", "1ee3", "--1", ".", None, True, []])
def test_what_is_no_quantity_is_none(text: object) -> None:
    assert parse_quantity(text) is None


@pytest.mark.parametrize(
    ("cores", "text"),
    [(Fraction(2), "2"), (Fraction(1, 2), "500m"), (Fraction(1, 3), "334m"), (Fraction(0), "0")],
)
def test_processors_are_written_in_thousandths(cores: Fraction, text: str) -> None:
    assert format_cpu(cores) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0"), (1023, "1023"), (1024, "1Ki"), (1120 * 2**20, "1120Mi"), (2**30, "1Gi")],
)
def test_sizes_are_written_with_the_largest_suffix_that_divides(size: int, text: str) -> None:
    assert format_bytes(size) == text


@given(st.integers(0, 2**62))
def test_what_is_written_is_read_again(number: int) -> None:
    assert parse_quantity(format_bytes(number)) == number
    assert parse_quantity(format_cpu(Fraction(number, 1000))) == Fraction(number, 1000)
