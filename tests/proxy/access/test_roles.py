# SPDX-License-Identifier: Apache-2.0
"""Which role has which right, as the documentation has it."""

import pytest

from fodc_api.words import Right
from fodc_protocol.profiles import Profile
from fodc_proxy.access.callers import is_own_machine
from fodc_proxy.access.roles import Role, holds, least_role, rights_to_capture, roles_named
from fodc_proxy.http.table import ROUTES

RIGHTS = {
    Role.SCRAPER: {"anybody", "metrics"},
    Role.VIEWER: {"anybody", "metrics", "view"},
    Role.PROFILER: {
        *("anybody", "metrics", "view", "configuration", "capture", "cancel", "artifacts"),
        "incidents",
    },
    Role.ADMIN: {
        *("anybody", "metrics", "view", "configuration", "capture", "cancel", "artifacts"),
        *("heap", "trace", "remove", "incidents"),
    },
}


@pytest.mark.parametrize("role", Role)
def test_a_role_has_these_rights_and_no_others(role):
    assert {right for right in Right if holds({role}, right)} == RIGHTS[role]


def test_nobody_without_a_role_has_more_than_what_is_open():
    assert [right for right in Right if holds((), right)] == [Right.ANYBODY]


def test_the_least_role_is_the_first_that_has_the_right():
    assert least_role(Right.METRICS) is Role.SCRAPER
    assert least_role(Right.ARTIFACTS) is Role.PROFILER
    assert least_role(Right.HEAP) is Role.ADMIN


def test_what_tells_or_costs_much_needs_a_right_of_its_own():
    assert rights_to_capture([Profile.CPU, Profile.GOROUTINE]) == ()
    profiles = [Profile.HEAP, Profile.ALLOCS, Profile.TRACE]
    assert rights_to_capture(profiles) == (Right.HEAP, Right.TRACE)


def test_words_that_are_no_roles_mean_nothing():
    assert roles_named(["viewer", "offline_access", "ADMIN"]) == {Role.VIEWER}


def test_what_is_open_is_counted_on_one_hand_and_nothing_else_is():
    open_paths = {row.path for row in ROUTES if row.right is Right.ANYBODY}
    assert open_paths == {"/health", "/healthz", "/readyz", "/version", "/openapi.json"}


@pytest.mark.parametrize(
    ("peer", "is_own"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("", False),
        ("localhost", False),
    ],
)
def test_own_machine_is_an_address_of_loopback(peer, is_own):
    assert is_own_machine(peer) is is_own
