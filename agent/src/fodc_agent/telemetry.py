# SPDX-License-Identifier: Apache-2.0
"""The agent's own log, to standard error, in the form that all programs of ours have.

The one idea: a message is an event's name and key=value pairs; changes are told at info,
repetitions at debug, so that a quiet log means a healthy agent.
"""

import logging
import sys

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
