# SPDX-License-Identifier: Apache-2.0
"""The checker of schemas: upstream-proxy §10.3, K01 to K22, upstream-agent T-CK-01 to 21."""

import pytest

from fodc_api.lifecycle import NodeFingerprint
from fodc_proxy.evidence.consistency import CONFIRMED_AFTER_MS, Checker, NodeSchema, Status

CONSISTENT, INCONSISTENT, UNKNOWN = "CONSISTENT", "INCONSISTENT", "UNKNOWN"
FOO = ("measure", "foo")
TRUTH = {FOO: "100"}
LATER = CONFIRMED_AFTER_MS


def has(node="data-1", cache="100", runtime=None, key=FOO):
    return {key: NodeFingerprint(node, cache, runtime or cache)}


class Rounds:
    """Rounds of one checker, each as much later as a difference needs, with fresh evidence."""

    def __init__(self):
        self.checker, self.now_ms = Checker(), 1_000_000

    def round(self, nodes, *, truth=TRUTH, expected=None, group="g", age_ms=0, after_ms=LATER):
        self.now_ms += after_ms
        taken_ms = self.now_ms - age_ms
        told = {node: NodeSchema(objects, taken_ms) for node, objects in nodes.items()}
        wanted = len(nodes) if expected is None else expected
        return self.checker.check(group, truth, told, wanted, self.now_ms)


def status(verdict):
    return verdict.status.removeprefix("CONSISTENCY_STATUS_")


def issues(verdict):
    return [
        (i.kind, i.name, i.node, i.type.removeprefix("SCHEMA_ISSUE_TYPE_")) for i in verdict.issues
    ]


@pytest.fixture
def rounds():
    return Rounds()


def test_k01_t_ck_01_all_agree(rounds):
    verdict = rounds.round({"data-1": has(), "data-2": has("data-2")})

    assert (status(verdict), verdict.issues) == (CONSISTENT, ())


def test_k02_t_ck_02_first_difference_is_suppressed(rounds):
    verdict = rounds.round({"data-1": has(cache="200")})

    assert (status(verdict), verdict.issues) == (UNKNOWN, ())


def test_k03_t_ck_03_second_round_reports_it(rounds):
    rounds.round({"data-1": has(cache="200")})
    verdict = rounds.round({"data-1": has(cache="200")})

    assert status(verdict) == INCONSISTENT
    assert issues(verdict) == [("measure", "foo", "data-1", "CACHE_STALE")]


def test_two_impatient_rounds_are_no_two_rounds(rounds):
    """§10.3: two calls in a row count once: what differs has to last."""
    told = [
        status(rounds.round({"data-1": has(cache="200")}, after_ms=after_ms))
        for after_ms in (0, 10, 10, LATER)
    ]

    assert told == [UNKNOWN, UNKNOWN, UNKNOWN, INCONSISTENT]


def test_evidence_from_before_the_difference_was_seen_proves_nothing(rounds):
    """§10.4.3, W-49: the agent answered both rounds out of a cache of ten minutes."""
    cached = {"age_ms": 600_000, "after_ms": 200_000}
    told = [status(rounds.round({"data-1": has(cache="200")}, **cached)) for _ in range(5)]

    assert told == [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, INCONSISTENT]


def test_k04_t_ck_04_recovery_starts_anew(rounds):
    rounds.round({"data-1": has(cache="200")})
    rounds.round({"data-1": has()})

    assert status(rounds.round({"data-1": has(cache="200")})) == UNKNOWN


def test_k05_t_ck_05_object_that_a_node_lacks_is_missing(rounds):
    for _ in range(2):
        verdict = rounds.round({"data-1": {}})

    assert issues(verdict) == [("measure", "foo", "data-1", "MISSING_IN_CACHE")]
    (row,) = verdict.objects
    assert (row.registry_fingerprint, row.node_fingerprints) == ("100", ())


def test_k06_t_ck_06_table_has_a_row_for_each_object_with_nodes_by_name(rounds):
    verdict = rounds.round({"data-2": has("data-2"), "data-1": has()})

    assert [(o.kind, o.name) for o in verdict.objects] == [FOO]
    assert [f.node for f in verdict.objects[0].node_fingerprints] == ["data-1", "data-2"]


def test_k07_k08_t_ck_07_08_object_that_the_registry_lacks_is_an_orphan_of_zero(rounds):
    nodes = {"data-1": has() | has(key=("measure", "bar"), cache="7")}
    for _ in range(2):
        verdict = rounds.round(nodes)

    assert issues(verdict) == [("measure", "bar", "data-1", "ORPHAN")]
    assert [o.registry_fingerprint for o in verdict.objects] == ["0", "100"]


def test_k09_t_ck_09_cache_that_is_not_in_use_is_not_applied(rounds):
    for _ in range(2):
        verdict = rounds.round({"data-1": has(runtime="999")})

    assert [kind for *_, kind in issues(verdict)] == ["RUNTIME_NOT_APPLIED"]


def test_k10_t_ck_10_stale_cache_hides_what_is_in_use(rounds):
    for _ in range(2):
        verdict = rounds.round({"data-1": has(cache="200", runtime="999")})

    assert [kind for *_, kind in issues(verdict)] == ["CACHE_STALE"]


def test_k11_k17_t_ck_11_17_only_the_full_roster_is_consistent(rounds):
    assert status(rounds.round({"data-1": has()}, expected=3)) == UNKNOWN
    full = {name: has(name) for name in ("data-1", "data-2", "data-3")}
    assert status(rounds.round(full)) == CONSISTENT


def test_k12_t_ck_12_what_is_gone_is_forgotten(rounds):
    rounds.round({"data-1": has(cache="200")})
    assert len(rounds.checker) == 1
    rounds.round({"data-1": {}}, truth={})

    assert len(rounds.checker) == 0


def test_groups_that_are_gone_are_forgotten(rounds):
    """§10.4.4: counters of a group that vanished stayed for ever."""
    rounds.round({"data-1": has(cache="200")}, group="g1")
    rounds.checker.keep_only(["g2"])

    assert len(rounds.checker) == 0


def test_k13_t_ck_13_nodes_are_counted_for_themselves(rounds):
    rounds.round({"data-1": has(), "data-2": has("data-2", cache="200")})
    verdict = rounds.round({"data-1": has(cache="300"), "data-2": has("data-2", cache="200")})

    assert [node for _, _, node, _ in issues(verdict)] == ["data-2"]


def test_k14_t_ck_14_many_groups_over_many_rounds_keep_their_own_counts(rounds):
    """There is one thread, so groups are taken in turn instead of at once."""
    for _ in range(20):
        for number in range(32):
            rounds.round({"data-1": has(cache="200")}, group=f"g{number}")

    assert len(rounds.checker) == 32


def test_k15_t_ck_15_no_node_and_none_expected_is_unknown(rounds):
    assert status(rounds.round({})) == UNKNOWN


def test_k16_t_ck_16_groups_do_not_mix(rounds):
    rounds.round({"data-1": has(cache="200")}, group="g1")

    assert status(rounds.round({"data-1": has(cache="200")}, group="g2")) == UNKNOWN


def test_k18_k19_t_ck_18_from_unknown_to_inconsistent_to_consistent(rounds):
    """K18: unknown while a difference is suppressed; K19: consistent after repair."""
    walk = [rounds.round({"data-1": has(cache=cache)}) for cache in ("200", "200", "100")]

    assert [status(one) for one in walk] == [UNKNOWN, INCONSISTENT, CONSISTENT]


def test_k20_t_ck_19_what_is_listed_outranks_suppression_and_shortfall(rounds):
    bar = ("measure", "bar")
    truth = {**TRUTH, bar: "5"}
    rounds.round({"data-1": has(cache="200") | has(key=bar, cache="5")}, truth=truth)
    verdict = rounds.round(
        {"data-1": has(cache="200") | has(key=bar, cache="6")}, truth=truth, expected=3
    )

    assert status(verdict) == INCONSISTENT
    assert [name for _, name, _, _ in issues(verdict)] == ["foo"]


def test_k21_t_ck_20_shortfall_alone_stays_unknown(rounds):
    told = [status(rounds.round({"data-1": has()}, expected=2)) for _ in range(2)]

    assert told == [UNKNOWN, UNKNOWN]


def test_k22_t_ck_21_there_is_no_fourth_status():
    """UNSPECIFIED cannot be said."""
    assert [one.number for one in Status] == [1, 2, 3]
