# SPDX-License-Identifier: Apache-2.0
"""One form of the log for all programs: one line for a record, whatever is in it."""

import json
import logging
import sys
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_agent import telemetry
from fodc_protocol.log_lines import LogLines, log_line
from fodc_proxy import log as of_proxy
from fodc_webhook import log as of_webhook

# 2026-11-18T12:00:00.25Z
CREATED_S = 1_795_003_200.25


def record(message: str, *values: object, error: bool = False) -> logging.LogRecord:
    told = sys.exc_info() if error else None
    made = logging.LogRecord("fodc_x.y", logging.WARNING, __file__, 1, message, values, told)
    made.created = CREATED_S
    return made


def test_a_line_of_text_has_the_fields_in_their_order_and_quotes_what_is_not_plain() -> None:
    line = LogLines(as_json=False).format(record("pod %s is made anew", "a/b"))

    assert line == (
        'time=2026-11-18T12:00:00.25Z level=warning logger=fodc_x.y message="pod a/b is made anew"'
    )


def test_a_line_of_json_has_the_same_fields() -> None:
    line = LogLines(as_json=True).format(record("begun"))

    assert line == (
        '{"time": "2026-11-18T12:00:00.25Z", "level": "warning", "logger": "fodc_x.y", '
        '"message": "begun"}'
    )


@pytest.mark.parametrize("as_json", [False, True])
def test_a_traceback_is_one_field_of_the_one_line(as_json: bool) -> None:
    try:
        int("two\nlines")
    except ValueError:
        line = LogLines(as_json=as_json).format(record("failed", error=True))

    assert len(line.splitlines()) == 1
    assert r"Traceback (most recent call last):\n" in line
    assert "ValueError: invalid literal" in line


@given(st.text(), st.booleans())
def test_whatever_is_told_a_record_is_one_line_and_reads_back(text: str, as_json: bool) -> None:
    line = log_line({"message": text}, as_json=as_json)

    assert len(line.splitlines()) == 1
    value = json.loads(line)["message"] if as_json else line.removeprefix("message=")
    assert (json.loads(value) if not as_json and value[:1] == '"' else value) == text


@pytest.mark.parametrize("program", [telemetry, of_proxy, of_webhook])
def test_every_program_writes_its_log_so(
    program: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    level = root.level
    try:
        program.set_up_log("warning", "text")
        logging.getLogger("fodc_x").info("unheard")
        logging.getLogger("fodc_x").warning("half  of %d", 2)
    finally:
        root.setLevel(level)

    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(' level=warning logger=fodc_x message="half  of 2"')
