# SPDX-License-Identifier: Apache-2.0
"""The program on a terminal: bars, colors, and nothing of that elsewhere."""

import os
import pty
import struct
import termios
from fcntl import ioctl

import pytest

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
def capture(proxy, make):
    content = make.recorded("cpu")
    proxy.artifacts["art-1"] = content
    done = make.target("data-0", "Succeeded", make.stored("cpu", content, "art-1"))
    proxy.steps = [
        make.request(1, "Running", make.target("data-0", "Running", make.result())),
        make.request(2, "Succeeded", done),
    ]


def test_capture_draws_a_bar_with_state_time_and_bytes(spawn, capture):
    shown, code = on_terminal(spawn, "capture", "cpu", "--all")

    assert code == 0
    assert "━" in shown
    assert "Succeeded" in shown
    assert "5.1s" in shown
    assert "24.3 KiB" in shown
    assert "s2.s2Decode" in shown


def test_terminal_gets_colors(spawn):
    shown, _ = on_terminal(spawn, "nodes")

    assert f"{ESCAPE}32mOnline" in shown


@pytest.mark.parametrize(
    ("argv", "env"), [(["--no-color"], {}), ([], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"})]
)
def test_terminal_gets_no_colors_when_somebody_forbids_them(spawn, argv, env):
    shown, code = on_terminal(spawn, "nodes", *argv, env=env)

    assert code == 0
    assert "Online" in shown
    assert ESCAPE not in shown


def test_capture_prints_lines_on_a_terminal_that_cannot_redraw(spawn, capture):
    shown, code = on_terminal(spawn, "capture", "cpu", "--all", env={"TERM": "dumb"})

    assert code == 0
    assert "data-0 cpu Running\r\n" in shown
    assert ESCAPE not in shown


def test_table_keeps_node_names_whole_on_a_narrow_terminal(spawn, proxy, make):
    proxy.nodes = [make.node("banyandb-data-with-a-long-name-0")]

    shown, _ = on_terminal(spawn, "nodes", columns=60, env={"NO_COLOR": "1"})

    assert "banyandb-data-with-a-long-name-0" in shown


def test_pipe_gets_only_data_on_stdout(spawn, capture):
    process = spawn("capture", "cpu", "--all", "-o", "json", text=True)

    out, err = process.communicate(timeout=20)

    assert out.startswith("{\n")
    assert ESCAPE not in out + err
    assert "data-0 cpu Succeeded" in err


def test_reader_that_goes_away_early_is_no_error(spawn, proxy, make):
    proxy.nodes = [make.node(f"data-{number}") for number in range(3000)]
    process = spawn("nodes", text=True)

    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()

    assert "Traceback" not in err
    assert process.wait(20) == 0
