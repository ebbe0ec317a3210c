# SPDX-License-Identifier: Apache-2.0
"""The agent's own log: one line per event, as text or as JSON.

The one idea: a line is an event's name and key=value pairs; changes are told at info, repetitions
at debug, so that a quiet log means a healthy agent.
"""

import json
import logging
import sys
import time
from collections.abc import Mapping
from typing import Final, TextIO

_LEVELS: Final[Mapping[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class _JsonLines(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        line: dict[str, object] = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": message.partition(" ")[0],
            "message": message,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class _TextLines(logging.Formatter):
    """Time, level, event and pairs."""

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s logger=%(name)s",
            datefmt="%Y-%m-%dT%H:%M:%S",
        )


def set_up_log(level: str, shape: str, stream: TextIO | None = None) -> None:
    """Write log lines of `level` and above to standard error; `shape` is text or json."""
    formatter: logging.Formatter = _JsonLines() if shape == "json" else _TextLines()
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])
    # Its debug lines are of no use to people who run an agent.
    logging.getLogger("asyncio").setLevel(max(logging.INFO, _LEVELS[level]))
