# SPDX-License-Identifier: Apache-2.0
"""What captures may take of the disk, and who goes when there is no room."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fodc_agent.captures.quota import Admitted, NoRoom, Quota


def test_a_capture_is_admitted_when_there_is_room():
    quota = Quota(max_bytes=100, max_count=3)

    assert quota.reserve("a", 100, now_ms=100) == Admitted(())
    assert (quota.used_bytes, quota.count) == (100, 1)


def test_a_finished_capture_gives_back_what_it_did_not_need():
    quota = Quota(max_bytes=100, max_count=3)
    quota.reserve("a", 100, now_ms=100)

    quota.finished("a", 30, at_ms=1)

    assert quota.reserve("b", 70, now_ms=100) == Admitted(())


def test_the_oldest_ends_are_evicted_first_and_only_as_many_as_needed():
    quota = Quota(max_bytes=100, max_count=9)
    for name, at_ms in [("late", 30), ("early", 10), ("middle", 20)]:
        quota.reserve(name, 30, now_ms=100)
        quota.finished(name, 30, at_ms)

    assert quota.reserve("new", 60, now_ms=100) == Admitted(("early", "middle"))
    assert quota.used_bytes == 90


def test_the_count_is_a_limit_too():
    quota = Quota(max_bytes=100, max_count=2)
    for name in ("a", "b"):
        quota.reserve(name, 1, now_ms=100)
        quota.finished(name, 0, at_ms=1)

    assert quota.reserve("c", 1, now_ms=100) == Admitted(("a",))


def test_what_runs_or_is_being_sent_is_never_evicted():
    quota = Quota(max_bytes=100, max_count=9)
    quota.reserve("running", 40, now_ms=100)
    quota.reserve("sent", 40, now_ms=100)
    quota.finished("sent", 40, at_ms=1)
    quota.reading("sent", now_ms=90)

    refusal = quota.reserve("new", 30, now_ms=100)

    assert isinstance(refusal, NoRoom)
    assert "2 captures with 80 bytes" in refusal.message
    assert (quota.used_bytes, quota.count) == (80, 2)


def test_a_result_may_be_evicted_again_a_minute_after_its_last_read():
    quota = Quota(max_bytes=10, max_count=9)
    quota.reserve("sent", 10, now_ms=100)
    quota.finished("sent", 10, at_ms=1)
    quota.reading("sent", now_ms=1000)

    assert isinstance(quota.reserve("new", 10, now_ms=60_999), NoRoom)
    assert quota.reserve("new", 10, now_ms=61_000) == Admitted(("sent",))


def test_recovered_results_beyond_a_smaller_quota_are_evicted_oldest_first():
    quota = Quota(max_bytes=100, max_count=9)

    assert quota.recovered("a", 60, finished_at_ms=1) == ()
    assert quota.recovered("b", 60, finished_at_ms=2) == ("a",)


def finished(quota, name, size_bytes, at_ms):
    quota.reserve(name, size_bytes, now_ms=0)
    quota.finished(name, size_bytes, at_ms)


def test_evidence_that_nobody_fetched_goes_last():
    """A8: the oldest went first, whether anybody had it or not."""
    quota = Quota(max_bytes=100, max_count=9)
    finished(quota, "unfetched", 40, at_ms=1)
    finished(quota, "half read", 20, at_ms=2)
    finished(quota, "fetched", 40, at_ms=3)
    quota.reading("half read", 10, end_bytes=19)
    quota.reading("fetched", 10, end_bytes=40)

    assert quota.reserve("new", 30, now_ms=100_000) == Admitted(("fetched",))
    assert quota.reserve("newer", 20, now_ms=100_000) == Admitted(("unfetched",))


def test_an_end_without_bytes_goes_only_where_a_place_is_missing():
    quota = Quota(max_bytes=100, max_count=3)
    finished(quota, "failed", 0, at_ms=1)
    finished(quota, "kept", 90, at_ms=2)

    assert quota.reserve("new", 5, now_ms=100) == Admitted(())
    quota.finished("new", 5, at_ms=3)
    assert quota.reserve("newer", 5, now_ms=100) == Admitted(("failed",))


def test_a_promise_grows_only_into_room_that_there_is_or_can_be_made():
    """A8: 64 MiB were promised to a profile of 4 KiB."""
    quota = Quota(max_bytes=100, max_count=9)
    finished(quota, "done", 50, at_ms=1)
    quota.reserve("running", 10, now_ms=0)

    assert quota.grow("running", 50, now_ms=100) == Admitted(())
    assert quota.grow("running", 60, now_ms=100) == Admitted(("done",))
    assert isinstance(quota.grow("running", 101, now_ms=100), NoRoom)
    assert quota.used_bytes == 60


@pytest.mark.parametrize(("max_bytes", "max_count"), [(0, 1), (1, 0)])
def test_a_quota_of_nothing_is_refused(max_bytes, max_count):
    with pytest.raises(ValueError, match="at least 1"):
        Quota(max_bytes=max_bytes, max_count=max_count)


class QuotaUnderUse(RuleBasedStateMachine):
    """Whatever comes in whatever order: never above the limits, never a protected one evicted."""

    def __init__(self):
        super().__init__()
        self.quota = Quota(max_bytes=100, max_count=5)
        self.running: dict[str, int] = {}
        self.done: dict[str, int] = {}
        self.sent: dict[str, int] = {}
        self.serial = 0
        self.now_ms = 0

    @rule(size=st.integers(0, 120))
    def reserve(self, size):
        self.serial += 1
        name = f"c{self.serial}"
        result = self.quota.reserve(name, size, self.now_ms)
        if isinstance(result, Admitted):
            on_their_way = {n for n, at_ms in self.sent.items() if self.now_ms - at_ms < 60_000}
            assert set(result.evict) <= set(self.done) - on_their_way
            for victim in result.evict:
                del self.done[victim]
                self.sent.pop(victim, None)
            self.running[name] = size

    @precondition(lambda self: self.running)
    @rule(data=st.data(), more=st.integers(0, 60))
    def grow(self, data, more):
        name = data.draw(st.sampled_from(sorted(self.running)))
        result = self.quota.grow(name, self.running[name] + more, self.now_ms)
        if isinstance(result, Admitted):
            assert set(result.evict) <= set(self.done)
            for victim in result.evict:
                del self.done[victim]
                self.sent.pop(victim, None)
            self.running[name] += more

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data):
        name = data.draw(st.sampled_from(sorted(self.running)))
        size = data.draw(st.integers(0, self.running.pop(name)))
        self.now_ms += 1
        self.quota.finished(name, size, self.now_ms)
        self.done[name] = size

    @precondition(lambda self: self.done)
    @rule(data=st.data())
    def read(self, data):
        name = data.draw(st.sampled_from(sorted(self.done)))
        self.quota.reading(name, self.now_ms)
        self.sent[name] = self.now_ms

    @rule(pause_ms=st.sampled_from([1, 30_000, 60_000]))
    def wait(self, pause_ms):
        self.now_ms += pause_ms

    @precondition(lambda self: self.done)
    @rule(data=st.data())
    def release(self, data):
        name = data.draw(st.sampled_from(sorted(self.done)))
        self.quota.released(name)
        del self.done[name]
        self.sent.pop(name, None)

    @invariant()
    def within_limits(self):
        assert self.quota.used_bytes <= 100
        assert self.quota.count <= 5
        assert self.quota.used_bytes == sum(self.running.values()) + sum(self.done.values())


QuotaUnderUse.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
test_quota_never_exceeds_its_limits = QuotaUnderUse.TestCase
