# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C at a running program: a wish first, an end second."""

import signal
import time

import pytest

from tests.client.stage import Gives, Holds


def wait_until(condition, limit_s=20.0):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def running(stage, relay, spawn):
    """Start a capture that runs until somebody ends it, and wait until the program follows it."""
    stage.agent("data-0", plans={"cpu": Holds()})

    def start(*words):
        process = spawn(*words, text=True)
        wait_until(lambda: any("after_revision" in each for each in relay.asked))
        return process

    return start


def test_first_interrupt_aborts_the_request_and_says_what_happened(running, relay):
    process = running("capture", "cpu", "--all")

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)

    assert process.returncode == 130
    assert any(each.startswith("DELETE /diagnostics/requests/cli-") for each in relay.asked)
    assert "aborting; Ctrl-C again leaves without waiting" in err
    assert "ended: Cancelled, 0 targets had succeeded" in err
    assert out == ""
    assert "Traceback" not in err
    assert "Warning" not in err


def test_second_interrupt_leaves_and_names_the_request(running, relay, stage):
    process = running("capture", "cpu", "--all")
    stage.deaf("data-0")

    process.send_signal(signal.SIGINT)
    wait_until(lambda: any(each.startswith("DELETE") for each in relay.asked))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)

    assert process.returncode == 130
    assert "left. Request cli-" in err
    assert "fodc requests cancel cli-" in err
    assert "Traceback" not in err
    assert "Warning" not in err


def test_aborted_capture_points_at_what_was_stored_before(
    stage, running, recorded, spawn, tmp_path
):
    stage.agent("data-1", plans={"cpu": Gives(recorded("cpu"))})
    process = running("capture", "cpu", "--all")
    wait_until(lambda: stage.stored() == 1)

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)

    assert "1 target had succeeded" in err
    assert "stored before: fodc artifacts get --request cli-" in err
    assert list(tmp_path.iterdir()) == []


def test_interrupt_of_another_verb_ends_it_quietly(running, fodc):
    request_id = fodc("capture", "cpu", "--all", "--no-wait").out.strip()
    process = running("requests", "show", request_id, "--wait")

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)

    assert process.returncode == 130
    assert "fodc: interrupted" in err
    assert "Traceback" not in err
    assert "Warning" not in err
