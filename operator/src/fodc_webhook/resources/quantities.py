# SPDX-License-Identifier: Apache-2.0
"""Quantities as Kubernetes writes them: read exactly, added, written again.

The one idea: a quantity is an exact fraction between reading and writing, so that "1", "1000m" and
"1e0" are equal and a sum never rounds.
"""

import re
from fractions import Fraction
from functools import lru_cache
from typing import Final

_QUANTITY: Final = re.compile(
    r"(?P<number>[+-]?(?:[0-9]{1,24}(?:\.[0-9]{0,24})?|\.[0-9]{1,24}))"
    r"(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<exponent>[+-]?[0-9]{1,2}))?"
)
_BINARY: Final = {f"{unit}i": Fraction(1024**power) for power, unit in enumerate("KMGTPE", 1)}
_DECIMAL: Final = {unit: Fraction(1000**power) for power, unit in enumerate("kMGTPE", 1)}
_SMALL: Final = {unit: Fraction(1, 1000**power) for power, unit in enumerate("mun", 1)}
_SCALE: Final = {"": Fraction(1), **_BINARY, **_DECIMAL, **_SMALL}
_MILLI: Final = Fraction(1, 1000)


def parse_quantity(text: object) -> Fraction | None:
    """Return what a quantity stands for (cores, bytes), None for what is none."""
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        return None
    return _parsed(str(text))


@lru_cache(maxsize=1024)
def _parsed(text: str) -> Fraction | None:
    """Parse each once: the same few are read again for every pod."""
    found = _QUANTITY.fullmatch(text.strip())
    if found is None:
        return None
    scale = Fraction(10) ** int(found["exponent"] or 0) * _SCALE[found["suffix"] or ""]
    return Fraction(found["number"].removesuffix(".")) * scale


def format_cpu(cores: Fraction) -> str:
    """Return cores as Kubernetes writes them, rounded up to a thousandth: "2" or "520m"."""
    millis = -(-cores // _MILLI)
    return str(millis // 1000) if millis % 1000 == 0 else f"{millis}m"


def format_bytes(size: Fraction | int) -> str:
    """Return a size with the largest binary suffix that divides it: "1120Mi"; else in bytes."""
    whole = -(-size.numerator // size.denominator)
    for suffix, scale in reversed(_BINARY.items()):
        if whole and whole % scale.numerator == 0:
            return f"{whole // scale.numerator}{suffix}"
    return str(whole)


def format_amount(resource: str, amount: Fraction) -> str:
    """Return an amount of a resource as Kubernetes writes it."""
    return format_cpu(amount) if resource == "cpu" else format_bytes(amount)
