# SPDX-License-Identifier: Apache-2.0
"""Which folders the agent writes to."""

import os

import pytest

from fodc_agent.__main__ import BAD_USAGE, main
from fodc_agent.captures.spool import Spool
from fodc_agent.own_folder import check_own, in_the_way_of, make_own
from fodc_agent.recorder.journal import Journal

ME = os.geteuid()
STRANGER = ME + 4321
NEEDS_ROOT = pytest.mark.skipif(ME != 0, reason="only root can give a folder to another user")


def test_a_folder_that_is_not_there_is_made_for_us_alone(tmp_path):
    make_own(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_symlink_of_ours_into_a_folder_of_ours_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "here").symlink_to(tmp_path / "there")
    check_own(tmp_path / "here")
    make_own(tmp_path / "here" / "below")


def test_a_symlink_of_another_user_on_the_way_is_refused(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "here").symlink_to(tmp_path / "there")
    if ME == 0:
        os.lchown(tmp_path / "here", STRANGER, -1)
    user = ME if ME == 0 else STRANGER
    with pytest.raises(PermissionError, match=r"here is a symlink of user \d+; name a folder"):
        check_own(tmp_path / "here" / "journal", user)


@pytest.fixture
def trap(tmp_path):
    """A symlink of ours into a folder of another user."""
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", STRANGER, -1)
    (tmp_path / "recorder").symlink_to(tmp_path / "theirs")
    return tmp_path / "recorder"


@NEEDS_ROOT
def test_a_journal_behind_a_symlink_into_a_foreign_folder_is_refused(trap):
    """A31: it was followed."""
    journal = Journal(trap, max_bytes=1 << 20)

    assert not journal.append("s", 1, [], (), list)

    assert f"{trap} is a symlink into a folder of user {STRANGER}" in journal.problem
    assert list((trap.parent / "theirs").iterdir()) == []


@NEEDS_ROOT
def test_nothing_is_restored_from_a_foreign_folder(trap):
    """A31: what another user wrote there became our history."""
    (trap.parent / "theirs" / "window-0000000001.journal").write_bytes(b"x")
    journal = Journal(trap, max_bytes=1 << 20)

    assert journal.earlier() == []

    read, problems = journal.damage()
    assert read == 0
    assert "is a symlink into a folder of user" in problems[0]


@NEEDS_ROOT
def test_a_spool_behind_a_symlink_into_a_foreign_folder_is_refused(trap):
    """A31: the mode of the other user's folder was changed, and its files counted as ours."""
    mode = (trap.parent / "theirs").stat().st_mode
    with pytest.raises(PermissionError, match="is a symlink into a folder of user"):
        Spool(trap).recover(1)
    assert (trap.parent / "theirs").stat().st_mode == mode


def test_a_file_on_the_way_of_a_folder_is_found(tmp_path):
    (tmp_path / "file").write_text("")
    assert in_the_way_of(tmp_path / "file") == tmp_path / "file"
    assert in_the_way_of(tmp_path / "file" / "sub" / "folder") == tmp_path / "file"
    assert in_the_way_of(tmp_path / "none" / "yet") is None
    assert in_the_way_of(tmp_path) is None


@pytest.mark.parametrize("flag", ["recorder-dir", "capture-dir"])
def test_an_agent_that_is_told_a_file_as_its_folder_says_so_and_does_not_start(
    tmp_path, capsys, flag
):
    file = tmp_path / "window.journal"
    file.write_text("")
    told = [f"--{flag}={file}", "--prometheus-listen-addr=127.0.0.1:0"]
    assert main(told) == BAD_USAGE
    expected = f"fodc-agent: --{flag} {file}: {file} is no folder; name one, or one to be made\n"
    assert capsys.readouterr().err == expected
