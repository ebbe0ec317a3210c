# SPDX-License-Identifier: Apache-2.0
"""What the spool says of every order after any end of the agent, and what it lets others read."""

import json
import signal
import stat
import subprocess
import sys

import pytest

from fodc_agent.captures.outcomes import Cancelled, Captured, Failed, Order
from fodc_agent.captures.spool import Held, Spool
from fodc_protocol.artifacts import Manifest
from fodc_protocol.errors import FodcError, Reason
from fodc_protocol.profiles import Profile


def order(command_id: str = "cmd-1", profile: Profile = Profile.HEAP) -> Order:
    return Order(command_id, profile, 0.0, 30.0)


def manifest(command_id: str, data: bytes, sha256: str, at_ms: int = 2000) -> Manifest:
    return Manifest(
        artifact_id="art-1",
        request_id="req-1",
        command_id=command_id,
        node="data-0",
        pod="data-0",
        role="ROLE_DATA",
        profile="heap",
        format="pprof",
        size_bytes=len(data),
        sha256=sha256,
        samples=3,
        started_at_ms=1000,
        finished_at_ms=at_ms,
        duration_ms=0,
    )


@pytest.fixture
def spool(tmp_path) -> Spool:
    made = Spool(tmp_path / "captures")
    made.recover(0)
    return made


def capture(spool: Spool, command_id: str, data: bytes = b"profile", at_ms: int = 2000):
    part = spool.part_of(order(command_id))
    spool.begin(part, order(command_id), 1000)
    part.write(data)
    made = manifest(command_id, data, part.sha256, at_ms)
    spool.commit(part, made)
    return made


def names(spool: Spool) -> list[str]:
    return sorted(path.name for path in spool.directory.iterdir())


def test_a_captured_profile_is_read_back_by_offset(spool):
    capture(spool, "cmd-1", b"0123456789")

    assert spool.read("cmd-1", 0, 4) == b"0123"
    assert spool.read("cmd-1", 8, 100) == b"89"
    assert spool.read("cmd-1", 10, 100) == b""


def test_files_are_for_the_owner_only(spool):
    part = spool.part_of(order("cmd-2"))
    spool.begin(part, order("cmd-2"), 1000)
    part.close()
    capture(spool, "cmd-1")

    modes = {stat.S_IMODE(path.stat().st_mode) for path in spool.directory.iterdir()}

    assert modes == {0o600}
    assert stat.S_IMODE(spool.directory.stat().st_mode) == 0o700


def test_recover_returns_ends_oldest_first(spool):
    newer = capture(spool, "cmd-new", at_ms=3000)
    older = capture(spool, "cmd-old", at_ms=2000)
    spool.fail("cmd-bad", Failed(Reason.NODE_HUNG, "no answer"), 2500)
    spool.fail("cmd-end", Cancelled(Reason.ABORTED, "aborted"), 2600)

    assert Spool(spool.directory).recover(9000) == [
        Held("cmd-old", Captured(older), 2000),
        Held("cmd-bad", Failed(Reason.NODE_HUNG, "no answer"), 2500),
        Held("cmd-end", Cancelled(Reason.ABORTED, "aborted"), 2600),
        Held("cmd-new", Captured(newer), 3000),
    ]


def test_recover_makes_a_running_capture_failed_and_drops_its_bytes(spool):
    """T-PP-08: what was not finished is listed nowhere."""
    part = spool.part_of(order())
    spool.begin(part, order(), 1000)
    part.write(b"half")
    part.close()

    held = Spool(spool.directory).recover(5000)

    assert [(item.command_id, item.outcome.reason, item.finished_at_ms) for item in held] == [
        ("cmd-1", Reason.AGENT_RESTARTED, 5000)
    ]
    assert names(spool) == ["cmd-1.fodc-state"]
    assert Spool(spool.directory).recover(6000) == held


def test_recover_says_so_when_the_bytes_of_a_result_are_gone(spool):
    made = capture(spool, "cmd-1")
    spool.path_of(made).write_bytes(b"prof")

    [held] = Spool(spool.directory).recover(5000)

    assert held.outcome.reason is Reason.STORAGE_FAILED


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b'{"state":"captured","finished_at_ms":1}',
        b'{"state":"captured","finished_at_ms":1,"manifest":[]}',
        b'{"state":"unheard","finished_at_ms":1}',
        b'{"state":"failed","reason":"Nope","message":"x","finished_at_ms":1}',
        b"\xff\xfe",
    ],
)
def test_recover_drops_a_marker_that_it_cannot_read_and_its_bytes(spool, text):
    """Failure 11: one bad file never hides the good ones."""
    kept = capture(spool, "cmd-good")
    made = capture(spool, "cmd-bad")
    (spool.directory / "cmd-bad.fodc-state").write_bytes(text)

    held = Spool(spool.directory).recover(5000)

    assert [item.outcome for item in held] == [Captured(kept)]
    assert not spool.path_of(made).exists()


def test_recover_leaves_files_of_others_alone(spool):
    (spool.directory / "heap.pb.gz").write_bytes(b"mine")
    (spool.directory / "notes.part").write_bytes(b"mine")

    Spool(spool.directory).recover(1)

    assert names(spool) == ["heap.pb.gz", "notes.part"]


def test_forget_removes_everything_and_may_be_repeated(spool):
    capture(spool, "cmd-1")

    spool.forget("cmd-1")
    spool.forget("cmd-1")

    assert names(spool) == []
    with pytest.raises(FodcError, match="no result of cmd-1"):
        spool.read("cmd-1", 0, 1)


@pytest.mark.parametrize("command_id", ["../../etc/passwd", "", ".hidden", "a/b", "a" * 300])
def test_a_malformed_id_reaches_no_file(spool, command_id):
    """T-PP-09: what looks like a path is no id."""
    spool.forget(command_id)
    with pytest.raises(FodcError, match="command_id"):
        spool.read(command_id, 0, 1)


def test_begin_refuses_a_second_run_of_the_same_order(spool):
    first = spool.part_of(order())
    spool.begin(first, order(), 1000)
    with pytest.raises(FileExistsError):
        spool.begin(spool.part_of(order()), order(), 1000)
    first.close()


def test_recover_fails_when_the_directory_cannot_be_made(tmp_path):
    """T-PP-10."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(OSError):
        Spool(tmp_path / "file" / "captures").recover(0)


def test_markers_are_json_that_a_person_can_read(spool):
    capture(spool, "cmd-1")

    state = json.loads((spool.directory / "cmd-1.fodc-state").read_text())

    assert (state["state"], state["manifest"]["profile"]) == ("captured", "heap")


DYING = """
import os, pathlib, signal, sys
from fodc_agent.captures.outcomes import Order
from fodc_agent.captures.spool import Spool
from fodc_protocol.profiles import Profile
spool = Spool(pathlib.Path(sys.argv[1]))
spool.recover(0)
order = Order("cmd-1", Profile.CPU, 30.0, 60.0)
part = spool.part_of(order)
spool.begin(part, order, 1000)
part.write(b"x" * 100000)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_in_the_middle_of_a_capture_leaves_a_failed_order(tmp_path):
    died = subprocess.run([sys.executable, "-c", DYING, str(tmp_path)], timeout=30, check=False)

    held = Spool(tmp_path).recover(7000)

    assert died.returncode == -signal.SIGKILL
    assert [item.outcome.reason for item in held] == [Reason.AGENT_RESTARTED]
    assert [path.name for path in tmp_path.iterdir()] == ["cmd-1.fodc-state"]
