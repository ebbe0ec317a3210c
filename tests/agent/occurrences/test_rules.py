# SPDX-License-Identifier: Apache-2.0
"""What happened to a node, from what was seen of it."""

from fodc_agent.occurrences.rules import Crash, Life, Memory, NodeRules, Remembered, with_captures

FIRST, SECOND = Life(7, 100, 5_000), Life(9, 200, 8_000)


def rules(remembered=None):
    return NodeRules(remembered or Remembered(), 0.0)


def kinds(happened):
    return [str(one.kind) for one in happened]


# ---- process ------------------------------------------------------------------------------------


def test_the_first_process_is_the_beginning_and_its_end_is_told_once():
    node = rules()
    assert node.process_seen(FIRST, 1) == []
    assert node.process_seen(FIRST, 2) == []
    (gone,) = node.process_seen(None, 3)
    assert (str(gone.kind), gone.fields) == ("node-gone", {"pid": "7", "started_at_ms": "5000"})
    assert node.process_seen(None, 4) == []


def test_another_process_in_its_place_is_a_restart_whether_its_end_was_seen_or_not():
    node = rules()
    node.process_seen(FIRST, 1)
    (restarted,) = node.process_seen(SECOND, 2)
    assert restarted.fields == {"pid": "9", "started_at_ms": "8000"}
    assert kinds(node.process_seen(None, 3)) == ["node-gone"]
    assert kinds(node.process_seen(FIRST, 4)) == ["node-restarted"]


def test_a_number_that_was_given_again_is_another_process():
    node = rules()
    node.process_seen(FIRST, 1)
    assert kinds(node.process_seen(Life(7, 101), 2)) == ["node-restarted"]


def test_an_agent_that_begins_anew_knows_the_process_of_the_life_before():
    remembered = rules()
    remembered.process_seen(FIRST, 1)
    assert rules(remembered.remembered).process_seen(FIRST, 1) == []
    assert kinds(rules(remembered.remembered).process_seen(SECOND, 1)) == ["node-restarted"]
    assert kinds(rules(remembered.remembered).process_seen(None, 1)) == ["node-gone"]


def test_what_was_told_in_the_life_before_is_not_told_again():
    before = rules()
    before.process_seen(FIRST, 1)
    before.process_seen(None, 2)
    again = rules(before.remembered)

    assert again.process_seen(None, 3) == []
    assert kinds(again.process_seen(SECOND, 4)) == ["node-restarted"]


def test_a_node_that_was_away_in_the_life_before_is_told_when_it_is_back():
    before = rules()
    before.process_seen(FIRST, 0)
    before.page_answered(None, 1)
    before.page_failed("timed out", 2)
    assert kinds(before.page_failed("timed out", 3)) == ["node-unreachable"]
    again = NodeRules(before.remembered, 100.0)
    again.process_seen(FIRST, 101)

    assert [again.page_failed("timed out", 200 + second) for second in range(4)] == [[]] * 4
    assert kinds(again.page_answered(None, 210)) == ["node-back"]
    assert again.remembered.is_away is False


def test_where_nothing_was_ever_seen_nothing_is_gone():
    assert rules().process_seen(None, 1) == []


# ---- page ---------------------------------------------------------------------------------------


def test_a_node_that_answers_nobody_is_unreachable_from_the_second_failure_on_until_it_is_back():
    node = rules()
    node.process_seen(FIRST, 0)
    assert node.page_answered(None, 10) == []
    assert node.page_failed("timed out", 20) == []
    (away,) = node.page_failed("timed out", 25)
    assert (str(away.kind), away.message) == ("node-unreachable", "timed out")
    assert away.fields == {"pid": "7", "started_at_ms": "5000"}
    assert node.page_failed("timed out", 30) == []
    (back,) = node.page_answered(None, 32)
    assert (str(back.kind), back.message) == ("node-back", "the node answers again after 12 s")
    assert node.page_answered(None, 42) == []


def test_a_reading_that_asked_twice_in_vain_is_enough():
    node = rules()
    node.process_seen(FIRST, 0)
    node.page_answered(None, 10)
    assert kinds(node.page_failed("no complete answer within 9 s", 29, 2)) == ["node-unreachable"]


def test_a_node_that_has_just_begun_has_a_minute_until_it_answers():
    node = rules()
    for now_s in range(1, 60, 5):
        assert node.page_failed("refused", now_s) == []
    assert kinds(node.page_failed("refused", 61)) == ["node-unreachable"]


def test_the_page_of_a_process_that_is_gone_tells_nothing_more_than_that_it_is_back():
    node = rules()
    node.process_seen(FIRST, 0)
    node.page_answered(None, 1)
    node.process_seen(None, 2)
    assert node.page_failed("refused", 3) == []
    assert node.page_failed("refused", 8) == []
    assert kinds(node.process_seen(SECOND, 9)) == ["node-restarted"]
    assert node.page_failed("refused", 10) == []
    assert kinds(node.page_answered(None, 12)) == ["node-back"]


def test_a_restart_is_seen_by_the_start_time_where_the_process_is_not():
    node = rules()
    assert node.page_answered(1000.0, 1) == []
    assert node.page_answered(None, 2) == []
    assert node.page_answered(1000.0, 3) == []
    (restarted,) = node.page_answered(1500.25, 4)
    assert (str(restarted.kind), restarted.fields) == (
        "node-restarted",
        {"started_at_ms": "1500250"},
    )


# ---- memory -------------------------------------------------------------------------------------


def test_a_counter_that_grows_is_an_oom_kill_and_the_first_reading_is_none():
    node = rules()
    node.process_seen(FIRST, 0)
    memory = Memory(900, 1000)
    assert node.oom_kills_seen(3, memory) == []
    assert node.oom_kills_seen(3, memory) == []
    (kill,) = node.oom_kills_seen(4, memory)
    assert kill.fields == {
        "rss_bytes": "900",
        "limit_bytes": "1000",
        "percent": "90.0",
        "pid": "7",
    }
    assert node.oom_kills_seen(0, None) == []  # another cgroup
    assert kinds(node.oom_kills_seen(1, None)) == ["oom-kill"]


def test_what_another_cgroup_counted_before_is_no_occurrence():
    node = rules()
    node.oom_counter_is(0)
    node.oom_counter_is(5)
    assert node.oom_kills_seen(5, None) == []


# ---- crashes ------------------------------------------------------------------------------------


def test_a_crash_is_told_once_and_old_ones_are_not_at_the_first_look():
    node = rules()
    old, fresh = Crash("20260101T000000Z-a", 1000.0), Crash("20260102T000000Z-b", 9000.0)
    assert [one.fields for one in node.crashes_seen([fresh, old], 9100.0)] == [
        {"crash": "20260102T000000Z-b"}
    ]
    assert node.crashes_seen([fresh, old], 9200.0) == []
    later = Crash("20260103T000000Z-c", 9150.0)
    assert kinds(node.crashes_seen([later, fresh], 99_999.0)) == ["crash"]
    again = rules(node.remembered)
    assert again.crashes_seen([later, fresh], 9160.0) == []


def test_an_empty_folder_is_a_beginning_too():
    node = rules()
    assert node.crashes_seen([], 1.0) == []
    assert kinds(node.crashes_seen([Crash("a", 0.0)], 99_999.0)) == ["crash"]


def test_captures_are_told_with_what_they_were_begun_for():
    node = rules()
    node.crashes_seen([], 1.0)
    (happened,) = node.crashes_seen([Crash("a", 0.0)], 2.0)
    assert with_captures(happened, []).fields == {"crash": "a"}
    begun = [("heap", "own-1"), ("goroutine", "own-2")]
    told = {"crash": "a", "captures": "heap=own-1,goroutine=own-2"}
    assert with_captures(happened, begun).fields == told


def test_a_node_is_away_until_its_page_comes_or_its_process_is_another():
    node = rules()
    node.process_seen(FIRST, 0)
    node.page_answered(None, 1)
    assert not node.is_away
    node.page_failed("silent", 2)
    node.page_failed("silent", 3)
    assert node.is_away
    node.page_answered(None, 4)
    assert not node.is_away
    node.process_seen(None, 5)
    assert node.is_away
