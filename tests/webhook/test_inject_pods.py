# SPDX-License-Identifier: Apache-2.0
"""Whole pods: what comes in and what comes out, as literals in data/, one file for each shape."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from fodc_webhook.inject.inject import inject
from fodc_webhook.inject.marks import REVISION
from fodc_webhook.inject.outcome import Injection
from fodc_webhook.inject.patch import json_patch
from fodc_webhook.inject.revision import revision_of
from tests.webhook.pods import policy

DATA = Path(__file__).parent / "data"
SHAPES = sorted(path.stem for path in DATA.glob("*.yaml"))


def read(shape: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DATA / f"{shape}.yaml").read_text())
    return found


def attempt(shape: dict[str, Any], given: Any) -> Injection:
    server = (shape["server"][0], shape["server"][1])
    return inject(given, policy(**shape["spec"]), server, shape["namespace"])


def told(made: Injection) -> dict[str, str]:
    names = ("outcome", "reason", "message", "flavor", "mode", "note")
    return {name: str(value) for name in names if (value := getattr(made, name))}


@pytest.mark.parametrize("name", SHAPES)
def test_a_pod_comes_out_as_it_is_written(name: str) -> None:
    shape = read(name)
    expected = shape["expected"]
    pod = expected.pop("pod")
    annotations = pod["metadata"].get("annotations", {})
    if REVISION in annotations:
        annotations[REVISION] = revision_of(policy(**shape["spec"]))

    made = attempt(shape, shape["given"])

    assert made.pod == pod
    assert told(made) == expected


@pytest.mark.parametrize("name", SHAPES)
def test_a_second_call_changes_nothing_and_the_first_not_what_came_in(name: str) -> None:
    shape = read(name)
    untouched = copy.deepcopy(shape["given"])
    once = attempt(shape, shape["given"])

    twice = attempt(shape, once.pod)

    assert json_patch(once.pod, twice.pod) == []
    assert twice == once
    assert shape["given"] == untouched
