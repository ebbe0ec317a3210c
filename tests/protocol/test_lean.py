# SPDX-License-Identifier: Apache-2.0
"""The lean dataclass means what the standard one means."""

import dataclasses
import subprocess
import sys
from dataclasses import FrozenInstanceError, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_protocol.lean import dataclass


@dataclass(frozen=True, slots=True)
class Lean:
    name: str
    size_bytes: int = 0
    secret: str = field(default="", repr=False)
    note: float = field(default=0.0, compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Standard:
    name: str
    size_bytes: int = 0
    secret: str = field(default="", repr=False)
    note: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class One:
    value: object


@dataclass(frozen=True, slots=True)
class Nothing:
    pass


@dataclass(slots=True)
class Changing:
    count: int = 0


@dataclass(slots=True, eq=False)
class Itself:
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    name: str


values = st.tuples(
    st.sampled_from(["a", "b"]),
    st.integers(0, 1),
    st.sampled_from(["", "s"]),
    st.sampled_from([0.0, 1.0]),
)


@given(values, values)
def test_objects_are_equal_and_hash_alike_when_standard_ones_do(one, other):
    assert (Lean(*one) == Lean(*other)) == (Standard(*one) == Standard(*other))
    assert (hash(Lean(*one)) == hash(Lean(*other))) == (
        hash(Standard(*one)) == hash(Standard(*other))
    )


@given(values)
def test_an_object_is_shown_like_a_standard_one_without_what_is_not_to_be_shown(one):
    assert repr(Lean(*one)) == repr(Standard(*one)).replace("Standard", "Lean")


def test_objects_of_different_classes_are_never_equal():
    assert Nothing() != One(()) != One([()])
    assert Nothing() == Nothing()
    assert One(1) == One(1) != One(2)
    assert Lean("a") != ("a", 0, "", 0.0)


def test_what_may_change_has_no_hash_and_what_is_itself_has_its_own():
    with pytest.raises(TypeError, match="unhashable"):
        hash(Changing())
    assert Itself() != Itself()
    assert len({Itself(), Itself()}) == 2


def test_a_copy_with_a_change_and_the_list_of_fields_are_there():
    assert replace(Lean("a", 1), size_bytes=2) == Lean("a", 2)
    assert [one.name for one in dataclasses.fields(Named)] == ["name"]
    with pytest.raises(TypeError):
        Named("a")


@pytest.mark.skipif(not __debug__, reason="without asserts, as in the images, nothing watches")
def test_a_frozen_object_is_not_changed_where_asserts_are_made():
    with pytest.raises(FrozenInstanceError):
        Lean("a").name = "b"


def test_in_the_images_nothing_is_written_for_a_class_but_its_constructor():
    lines = (
        "from fodc_protocol.lean import dataclass",
        "kind = dataclass(frozen=True, slots=True)(type('K', (), {'__annotations__': {'a': int}}))",
        "own = [n for n, f in vars(kind).items() if str(f).startswith('<function K.')]",
        "print(*own)",
    )
    answer = subprocess.run(
        [sys.executable, "-OO", "-c", "\n".join(lines)], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["__init__"]
