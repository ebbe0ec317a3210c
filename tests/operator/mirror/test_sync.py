# SPDX-License-Identifier: Apache-2.0
"""ConfigInSync: whether a node was told the same as its peers, in its FodcNode."""

import pytest

from fodc_operator.mirror import translate
from fodc_operator.mirror.sync import in_sync
from fodc_operator.mirror.translate import PodFacts
from fodc_proxy.fleet.membership import Phase
from tests.operator.mirror.fleet import NOON_MS, member


def condition(differing, before=None, **told):
    status = translate.status_of(
        member(**told),
        PodFacts(),
        (),
        before or {},
        generation=1,
        now_ms=NOON_MS,
        differing=differing,
    )
    found = {one["type"]: one for one in status["conditions"]}.get("ConfigInSync")
    return status, found and (found["status"], found["reason"], found["message"])


@pytest.mark.parametrize(
    ("differing", "said"),
    [
        (
            (),
            ("True", "InSync", "the node is told the same as the most of its role and tier"),
        ),
        (
            ("level", "quota"),
            (
                "False",
                "Drift",
                "differs from the most of its role and tier in level, quota; see: fodc config diff",
            ),
        ),
        (None, None),
    ],
)
def test_a_node_is_in_sync_with_its_peers_or_names_in_what_not(differing, said):
    assert condition(differing)[1] == said


def test_only_some_of_many_settings_are_named():
    (said,) = in_sync([f"s{n}" for n in range(11)], {})

    assert "s0, s1, s2, s3, s4, s5, s6, s7 and 3 more;" in said.message


def test_a_condition_that_was_told_is_unknown_when_nothing_is_known_any_more():
    before, _ = condition(("level",))

    _, said = condition(None, before)

    assert said == ("Unknown", "NotTold", "nothing is known of what the node is told")


def test_a_node_that_went_has_no_say_in_it():
    before, _ = condition(("level",))

    _, said = condition(("level",), before, phase=Phase.OFFLINE)

    assert said[0] == "Unknown"
