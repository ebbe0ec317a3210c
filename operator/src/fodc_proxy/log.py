# SPDX-License-Identifier: Apache-2.0
"""The log of a program, to standard error, in the form that all programs of ours have."""

import logging
import sys
from collections.abc import Iterable

from fodc_protocol.log_lines import LogLines


class _Lines(LogLines, logging.Formatter):
    """One of the library."""


def set_up_log(level: str, form: str) -> None:
    """Send the log of the whole process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(as_json=form == "json"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def log_settings(lines: Iterable[str]) -> None:
    """Say once, at the start, what the program was told."""
    for line in lines:
        logging.getLogger(__name__).info("setting %s", line)
