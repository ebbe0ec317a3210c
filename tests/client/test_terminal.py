# SPDX-License-Identifier: Apache-2.0
"""The program on a terminal: bars, colors, and nothing of that elsewhere."""

import os
import pty
import struct
import termios
from fcntl import ioctl

import pytest

from tests.client.stage import Gives

ESCAPE = "\x1b["


def on_terminal(spawn, *argv, columns=100, env=None):
    """Run on a pseudo terminal and return what it showed and the exit code."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    settings = {"TERM": "xterm-256color", **(env or {})}
    process = spawn(*argv, stdout=theirs, stderr=theirs, stdin=theirs, env=settings)
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux says EIO when the last writer has gone
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    return shown.decode(), process.wait(20)


@pytest.fixture
def capture(stage, recorded):
    """A node that gives a CPU profile."""
    stage.agent("data-0", plans={"cpu": Gives(recorded("cpu"))})


def test_capture_draws_a_bar_with_state_time_and_bytes(spawn, capture):
    shown, code = on_terminal(spawn, "capture", "cpu", "--all", "--seconds", "5")

    assert code == 0
    assert "━" in shown
    assert "Succeeded" in shown
    assert "5s" in shown
    assert "24.3 KiB" in shown
    assert "s2.s2Decode" in shown


def test_terminal_gets_colors(spawn, stage):
    stage.agent("data-0")

    shown, _ = on_terminal(spawn, "nodes")

    assert f"{ESCAPE}32mOnline" in shown


@pytest.mark.parametrize(
    ("argv", "env"), [(["--no-color"], {}), ([], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"})]
)
def test_terminal_gets_no_colors_when_somebody_forbids_them(spawn, stage, argv, env):
    stage.agent("data-0")

    shown, code = on_terminal(spawn, "nodes", *argv, env=env)

    assert code == 0
    assert "Online" in shown
    assert ESCAPE not in shown


def test_capture_prints_lines_on_a_terminal_that_cannot_redraw(spawn, capture):
    shown, code = on_terminal(spawn, "capture", "cpu", "--all", env={"TERM": "dumb"})

    assert code == 0
    assert "data-0 cpu Succeeded" in shown
    assert ESCAPE not in shown


def test_table_keeps_node_names_whole_on_a_narrow_terminal(spawn, stage):
    stage.agent("banyandb-data-with-a-long-name-0")

    shown, _ = on_terminal(spawn, "nodes", columns=40, env={"NO_COLOR": "1"})

    assert "banyandb-data-with-a-long-name-0" in shown


@pytest.mark.parametrize(("columns", "left_out"), [(80, "NAMESPACE"), (200, "AGENT ID")])
def test_wide_table_says_which_columns_have_no_room(spawn, stage, columns, left_out):
    """C1: at 80 and at 200 columns some were not there, without a word."""
    stage.agent("banyandb-data-hot-0")

    shown, _ = on_terminal(spawn, "nodes", "-o", "wide", columns=columns, env={"NO_COLOR": "1"})

    lines = shown.replace("\r", "").splitlines()
    (said,) = (line for line in lines if line.startswith(f"no room in {columns} columns for "))
    missing = said.partition(" for ")[2].partition(";")[0].split(", ")
    assert left_out in missing
    heading = lines[0]
    assert all(len(line) <= columns for line in lines if "banyandb-data-hot-0" in line)
    for column in ("NODE", "ROLE", "PHASE", "CONTRACT", "UNFETCHED", "CONFIG", left_out):
        assert (column in heading.replace("AGENT ID", "")) != (column in missing)


def test_piped_table_has_every_column(spawn, stage):
    stage.agent("data-0")

    out, err = spawn("nodes", "-o", "wide", text=True, env={"COLUMNS": "80"}).communicate(
        timeout=20
    )

    assert "AGENT ID" in out.splitlines()[0]
    assert "no room" not in err


def test_pipe_gets_only_data_on_stdout(spawn, capture):
    process = spawn("capture", "cpu", "--all", "-o", "json", text=True)

    out, err = process.communicate(timeout=20)

    assert out.startswith("{\n")
    assert ESCAPE not in out + err
    assert "data-0 cpu Succeeded" in err


def test_reader_that_goes_away_early_is_no_error(spawn, stage):
    stage.agent("data-0", settings=[(f"setting-{n}", "x" * 200, "flag") for n in range(500)])
    process = spawn("config", "show", "data-0", text=True)

    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()

    assert "Traceback" not in err
    assert process.wait(20) == 0
