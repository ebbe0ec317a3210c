# SPDX-License-Identifier: Apache-2.0
"""The window after the death of the agent: whole, a prefix, or empty with a reason."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fodc_agent.recorder.journal import Journal
from fodc_agent.recorder.recorder import Recorder
from fodc_protocol.metrics.samples import MetricType, Sample, Series


class Journaled(Recorder):
    """A recorder with a journal that is read at once and written to at once."""

    def __init__(self, journal: Journal, **settings_) -> None:
        super().__init__(diary=journal, **settings_)
        paths = journal.earlier()
        restoration = self.restoration(journal.times_ms(paths))
        for _ in restoration.steps(journal.replay(paths)):
            pass
        self.restored_rows = restoration.join()
        self.restored_segments, self.problems = journal.damage()

    def close(self) -> None:
        self.diary.close()


def start(directory: Path, *, max_bytes: int = 1 << 20, **changes) -> Journaled:
    settings_ = {"budget_bytes": 1 << 20, "interval_s": 10.0} | changes
    return Journaled(Journal(directory, max_bytes=max_bytes), **settings_)


def page(at: int) -> bytes:
    extra = f'late{{a="x"}} {at}\n' if at >= 3 else ""
    head = '# HELP m About "m".\n# TYPE m counter\n'
    return f'{head}m{{a="\\"q\\""}} {at * 1.5}\nn {at}\n{extra}'.encode()


def content(one: Recorder):
    """Everything in the window as plain values; NaN-safe because the cells are bytes."""
    found = []
    for piece in one.window(-(10**15), 10**15):
        points = len(piece.timestamps_ms)
        for at, series in enumerate(piece.series):
            cells = piece.values[at * points : (at + 1) * points].tobytes()
            found.append((piece.source, series, tuple(piece.timestamps_ms), cells))
    return sorted(found, key=lambda entry: (entry[0], entry[1].name))


def test_window_survives_a_restart(tmp_path):
    one = start(tmp_path)
    for at in range(10):
        one.record_page("node", page(at), at * 10_000)
        one.record_samples("kernel", [Sample(Series("k", (), MetricType.GAUGE, "K."), at)], at)
    again = start(tmp_path)
    assert content(again) == content(one)
    assert (again.restored_rows, again.problems) == (20, ())
    one.close()


def test_restored_series_are_history_until_they_are_seen_again(tmp_path):
    one = start(tmp_path)
    one.record_page("node", page(5), 0)
    one.close()
    again = start(tmp_path)
    assert (again.latest().blocks, again.latest().at_ms) == ([], 0)
    again.record_page("node", b"n 7\n", 10_000)
    assert [block.text for block in again.latest().blocks] == [b"n 7\n"]
    assert {series.name for _, series, _, _ in content(again)} == {"m", "n", "late"}
    again.close()


def test_rows_of_several_lives_follow_each_other(tmp_path):
    for life in range(5):
        one = start(tmp_path)
        for at in range(3):
            one.record_page("node", page(life * 3 + at), (life * 3 + at) * 10_000)
        one.close()
    final = start(tmp_path)
    times = [at * 10_000 for at in range(15)]
    rows = {series.name: (found, cells) for _, series, found, cells in content(final)}
    assert list(rows["n"][0]) == times
    assert final.extent().rows == 15


def test_reload_holds_the_budget_and_the_target(tmp_path):
    one = start(tmp_path)
    for at in range(300):
        one.record_page("node", page(at), at * 10_000)
    one.close()
    short = start(tmp_path, target_s=100)
    assert (short.extent().rows, short.extent().newest_ms) == (11, 2_990_000)
    small = start(tmp_path, budget_bytes=6_000)
    assert 0 < small.extent().rows < 300
    assert small.extent().bytes <= 6_000


def test_reload_follows_columns_that_were_reused(tmp_path):
    one = start(tmp_path, stale_after=1, target_s=50)
    for at in range(40):
        one.record_page("node", f"steady {at}\nchurn_{at // 4} {at}\n".encode(), at * 10_000)
    one.close()
    wide = start(tmp_path, stale_after=1, target_s=3600)
    for _, series, times, cells in content(wide):
        if series.name.startswith("churn"):
            index = int(series.name.rpartition("_")[2])
            values = memoryview(cells).cast("d")
            found = {t: v for t, v in zip(times, values, strict=True) if v == v}
            assert found == {at * 10_000: float(at) for at in range(index * 4, index * 4 + 4)}
    assert len(content(wide)) == 11
    assert content(start(tmp_path, stale_after=1, target_s=50)) == content(one)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A journal of one segment, and the window after 0, 1, 2 ... rows."""
    directory = tmp_path_factory.mktemp("journal")
    one = start(directory)
    states = [content(one)]
    for at in range(8):
        one.record_page("node", page(at), at * 10_000)
        states.append(content(one))
    one.close()
    (segment,) = directory.iterdir()
    return segment.read_bytes(), states


@settings(max_examples=150)
@given(st.data())
def test_kill_at_any_byte_leaves_a_prefix_of_the_rows(recorded, tmp_path_factory, data):
    whole, states = recorded
    cut = data.draw(st.integers(0, len(whole)))
    directory = tmp_path_factory.mktemp("cut")
    (directory / "window-0000000001.journal").write_bytes(whole[:cut])
    again = start(directory)
    rows = again.extent().rows
    assert content(again) == states[rows]
    if cut == len(whole):
        assert rows == 8
    shutil.rmtree(directory)


def test_kill_loses_at_most_the_row_that_was_being_written(recorded, tmp_path):
    whole, states = recorded
    (tmp_path / "window-0000000001.journal").write_bytes(whole[:-1])
    assert content(start(tmp_path)) == states[7]


@settings(max_examples=150)
@given(st.data())
def test_any_damage_leaves_a_prefix_and_a_reason(recorded, tmp_path_factory, data):
    whole, states = recorded
    at = data.draw(st.integers(0, len(whole) - 1))
    flip = data.draw(st.integers(1, 255))
    directory = tmp_path_factory.mktemp("damage")
    damaged = whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :]
    (directory / "window-0000000001.journal").write_bytes(damaged)
    again = start(directory)
    assert content(again) == states[again.extent().rows]
    assert len(again.problems) == 1
    shutil.rmtree(directory)


@pytest.mark.parametrize(
    "noise", [b"", b"\x00" * 500, b"FODCJRN1" + b"\xff" * 500, b"text\n" * 100]
)
def test_corrupt_file_starts_empty_with_a_reason_and_recording_goes_on(tmp_path, noise):
    (tmp_path / "window-0000000007.journal").write_bytes(noise)
    one = start(tmp_path)
    assert one.extent().rows == 0
    assert [text.partition(":")[0] for text in one.problems] == ["window-0000000007.journal"]
    one.record_page("node", page(1), 0)
    one.close()
    assert start(tmp_path).extent().rows == 1


def test_damage_in_an_old_segment_costs_only_that_segment(tmp_path):
    for life in range(3):
        one = start(tmp_path)
        one.record_page("node", page(life), life * 10_000)
        one.close()
    middle = sorted(tmp_path.iterdir())[1]
    middle.write_bytes(middle.read_bytes()[:20])
    again = start(tmp_path)
    assert (again.extent().rows, again.restored_segments) == (2, 3)


def test_foreign_files_and_folders_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "window-x.journal").write_text("mine too")
    (tmp_path / "window-0000000001.journal").mkdir()
    one = start(tmp_path)
    one.record_page("node", page(1), 0)
    assert one.diary.problem is None
    one.close()
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "window-x.journal").read_text() == "mine too"


def test_files_are_private_and_directory_is_made(tmp_path):
    directory = tmp_path / "deep" / "journal"
    one = start(directory)
    one.record_page("node", page(1), 0)
    one.close()
    (segment,) = directory.iterdir()
    assert stat.S_IMODE(segment.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_journal_stays_within_its_bound_and_keeps_the_newest(tmp_path):
    one = start(tmp_path, max_bytes=8_000)
    for at in range(400):
        one.record_page("node", page(at), at * 10_000)
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 8_000
    one.close()
    again = start(tmp_path, max_bytes=8_000)
    assert again.extent().newest_ms == 3_990_000
    assert again.extent().rows > 20
    assert again.problems == ()


def test_unwritable_directory_is_a_reason_not_a_crash(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    one = start(blocked / "journal")
    one.record_page("node", page(1), 0)
    assert one.value("n") == 1.0
    assert "journal" in (one.diary.problem or "")


def test_full_volume_pauses_and_recovers_with_all_definitions(tmp_path, monkeypatch):
    one = start(tmp_path)
    one.record_page("node", page(0), 0)
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:10]))
    one.record_page("node", page(5), 10_000)
    assert "is the volume full?" in (one.diary.problem or "")
    monkeypatch.setattr(os, "write", real)
    for at in range(6, 45):
        one.record_page("node", page(at), at * 10_000)
    assert (one.diary.problem, one.diary.lost) == (None, 31)
    one.close()
    again = start(tmp_path)
    assert (again.restored_rows, again.problems) == (10, ())
    assert {series.name for _, series, _, _ in content(again)} == {"m", "n", "late"}


KILLED = """
import os, signal, sys
from pathlib import Path
from fodc_agent.recorder.journal import Journal
from fodc_agent.recorder.recorder import Recorder
one = Recorder(
    budget_bytes=1 << 20, interval_s=10, diary=Journal(Path(sys.argv[1]), max_bytes=1 << 20)
)
for at in range(50):
    one.record_page("node", f"n {at}\\n".encode(), at * 10_000)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_9_loses_no_scrape_that_had_been_recorded(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, timeout=30)
    assert done.returncode == -9
    again = start(tmp_path)
    assert (again.extent().rows, again.extent().newest_ms) == (50, 490_000)


def test_series_that_a_shorter_reload_forgot_comes_back_under_its_own_name(tmp_path):
    one = start(tmp_path, stale_after=1)
    for at in range(30):
        names = ["steady"]
        names += ["a"] if at in (0, 25) else []
        names += ["b"] if 12 <= at < 28 else []
        body = "".join(f"{name} {at}\n" for name in names)
        one.record_page("node", body.encode(), at * 10_000)
    one.close()
    again = start(tmp_path, stale_after=1, target_s=100)
    values = {
        series.name: {
            time: value
            for time, value in zip(times, memoryview(cells).cast("d"), strict=True)
            if value == value
        }
        for _, series, times, cells in content(again)
    }
    assert values["a"] == {250_000: 25.0}
    assert values["b"] == {at * 10_000: float(at) for at in range(19, 28)}
