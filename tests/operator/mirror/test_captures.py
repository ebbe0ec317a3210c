# SPDX-License-Identifier: Apache-2.0
"""Which captures run where, from requests as they change."""

from dataclasses import replace

from fodc_api.words import Phase, RequestPhase
from fodc_operator.mirror.captures import Captures
from fodc_operator.mirror.translate import Running
from fodc_protocol.profiles import Profile
from fodc_proxy.captures.model import Capture, Request, Result, Selector, Spec, Target

SPEC = Spec(Selector(all=True), (Capture("cpu", Profile.CPU, 5.0),))


def request(phase: RequestPhase = RequestPhase.RUNNING, **running: bool) -> Request:
    targets = tuple(
        Target(
            pod,
            (
                Result(
                    "cpu",
                    "cpu",
                    5.0,
                    phase=Phase.RUNNING if runs else Phase.PENDING,
                    started_at_ms=7 if runs else None,
                ),
            ),
            phase=Phase.RUNNING if runs else Phase.PENDING,
        )
        for pod, runs in running.items()
    )
    return Request("r-1", SPEC, targets, created_at_ms=1, phase=phase)


def test_the_pods_on_which_something_starts_or_ends_are_named_and_no_other() -> None:
    captures = Captures()

    assert captures.note(request(a=False, b=False)) == frozenset()
    assert captures.note(request(a=True, b=False)) == {"a"}
    assert captures.note(request(a=True, b=False)) == frozenset()
    assert captures.note(request(a=False, b=True)) == {"a", "b"}
    assert captures.running("b") == (Running("r-1", "cpu", 7),)
    assert captures.running("a") == ()


def test_a_request_that_ends_runs_nowhere() -> None:
    captures = Captures()
    captures.note(request(a=True))
    captures.note(replace(request(a=True), id="r-2"))

    assert captures.note(request(RequestPhase.CANCELLED, a=True)) == {"a"}
    assert captures.running("a") == (Running("r-2", "cpu", 7),)
