# SPDX-License-Identifier: Apache-2.0
"""The log of the program: one line per record, to standard error."""

import logging
import sys

from fodc_protocol.log_lines import log_line
from fodc_protocol.times import format_rfc3339_ms


class _Lines(logging.Formatter):
    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; a traceback becomes one field."""
        fields = {
            "time": format_rfc3339_ms(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return log_line(fields, as_json=self._as_json)


def set_up_log(level: str, form: str) -> None:
    """Send the log of the whole process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(as_json=form == "json"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
