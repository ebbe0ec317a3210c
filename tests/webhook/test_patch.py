# SPDX-License-Identifier: Apache-2.0
"""A patch turns what came in into what goes out, and is no larger than it must be."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_webhook.inject.patch import json_patch
from tests.webhook.patching import applied

documents = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "~/", "~1"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["", "a", "b", "~", "/", "~1/", "0"]), inner, max_size=4)
    ),
    max_leaves=12,
)


def is_same(one: object, other: object) -> bool:
    """Equal as JSON, where true is not 1."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return one == other


@given(documents, documents)
def test_a_patch_gives_the_other_document(before: Any, after: Any) -> None:
    steps = json_patch(before, after)
    assert is_same(applied(steps, before), after)
    assert (steps == []) is is_same(before, after)


@pytest.mark.parametrize(
    ("before", "after", "steps"),
    [
        ({}, {}, []),
        ({"a": 1}, {"a": 1, "b": {}}, [{"op": "add", "path": "/b", "value": {}}]),
        ({"a": 1, "b": 2}, {"a": 1}, [{"op": "remove", "path": "/b"}]),
        ({"a": 1}, {"a": True}, [{"op": "replace", "path": "/a", "value": True}]),
        ({"a": None}, {"a": []}, [{"op": "replace", "path": "/a", "value": []}]),
        (
            {"metadata": {"labels": {}}},
            {"metadata": {"labels": {"a.b/c~d": "e"}}},
            [{"op": "add", "path": "/metadata/labels/a.b~1c~0d", "value": "e"}],
        ),
        ([1], [1, 2, 3], [{"op": "add", "path": "/-", "value": n} for n in (2, 3)]),
        ([1, 2, 3], [1], [{"op": "remove", "path": "/2"}, {"op": "remove", "path": "/1"}]),
        (
            [{"name": "a"}, {"name": "b"}],
            [{"name": "a", "x": 1}, {"name": "b"}],
            [{"op": "add", "path": "/0/x", "value": 1}],
        ),
        ({"a": [1]}, {"a": {"0": 1}}, [{"op": "replace", "path": "/a", "value": {"0": 1}}]),
        (1, 2, [{"op": "replace", "path": "", "value": 2}]),
    ],
)
def test_a_patch_is_as_small_as_the_difference(before: Any, after: Any, steps: Any) -> None:
    assert json_patch(before, after) == steps
