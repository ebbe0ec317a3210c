# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C at a running program: a wish first, an end second."""

import signal
import time


def wait_until(condition, limit_s=20.0):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def running(proxy, make):
    proxy.steps = [make.request(1, "Running", make.target("data-0", "Running", make.result()))]


def polled(proxy):
    return any("after_revision" in each for each in proxy.asked)


def test_first_interrupt_aborts_the_request_and_says_what_happened(proxy, make, spawn):
    running(proxy, make)
    proxy.aborted = [
        make.request(
            2, "Cancelled", make.target("data-0", "Cancelled", make.result(phase="Cancelled"))
        )
    ]
    process = spawn("capture", "cpu", "--all", text=True)
    wait_until(lambda: polled(proxy))

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)

    assert process.returncode == 130
    assert "DELETE /diagnostics/requests/req-1?mode=abort" in proxy.asked
    assert "aborting; Ctrl-C again leaves without waiting" in err
    assert "request req-1 ended: Cancelled, 0 targets had succeeded" in err
    assert out == ""
    assert "Traceback" not in err
    assert "Warning" not in err


def test_second_interrupt_leaves_and_names_the_request(proxy, make, spawn):
    running(proxy, make)
    process = spawn("capture", "cpu", "--all", text=True)
    wait_until(lambda: polled(proxy))

    process.send_signal(signal.SIGINT)
    wait_until(lambda: any(each.startswith("DELETE") for each in proxy.asked))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)

    assert process.returncode == 130
    assert "left. Request req-1 may go on" in err
    assert "fodc requests cancel req-1" in err
    assert "Traceback" not in err
    assert "Warning" not in err


def test_aborted_capture_points_at_what_was_stored_before(proxy, make, spawn, tmp_path):
    running(proxy, make)
    content = make.recorded("cpu")
    proxy.aborted = [
        make.request(
            2,
            "Cancelled",
            make.target("data-0", "Succeeded", make.stored("cpu", content, "art-1")),
            make.target("data-1", "Cancelled"),
        )
    ]
    process = spawn("capture", "cpu", "--all", text=True)
    wait_until(lambda: polled(proxy))

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)

    assert "1 target had succeeded" in err
    assert "stored before: fodc artifacts get --request req-1" in err
    assert list(tmp_path.iterdir()) == []


def test_interrupt_of_another_verb_ends_it_quietly(proxy, make, spawn):
    running(proxy, make)
    process = spawn("requests", "show", "req-1", "--wait", text=True)
    wait_until(lambda: polled(proxy))

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)

    assert process.returncode == 130
    assert "fodc: interrupted" in err
    assert "Traceback" not in err
    assert "Warning" not in err
