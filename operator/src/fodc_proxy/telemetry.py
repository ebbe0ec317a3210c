# SPDX-License-Identifier: Apache-2.0
"""What the proxy tells of itself: its log, one line per record, and its own metric families."""

import json
import logging
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from fodc_protocol.metrics.samples import MetricType, Sample, Series
from fodc_protocol.times import format_rfc3339_ms
from fodc_proxy.fleet.membership import Member

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


# ---- log ----------------------------------------------------------------------------------------


class _Lines(logging.Formatter):
    """key=value pairs, or one JSON object per record."""

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
        if self._as_json:
            return json.dumps(fields, ensure_ascii=False)
        return " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())


def _quoted(text: str) -> str:
    plain = text.isascii() and text.isprintable() and not set(' "=') & set(text)
    return text if plain and text else json.dumps(text, ensure_ascii=False)


def set_up_log(level: str, form: str) -> None:
    """Send the log of the whole process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(as_json=form == "json"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])


def log_settings(lines: Iterable[str]) -> None:
    """Say once, at the start, what the proxy was told."""
    for line in lines:
        logging.getLogger(__name__).info("setting %s", line)


# ---- own families -------------------------------------------------------------------------------


def gauge(name: str, text: str, value: float, **labels: str) -> Sample:
    """Return one gauge of the proxy itself."""
    series = Series(f"fodc_proxy_{name}", tuple(labels.items()), MetricType.GAUGE, text)
    return Sample(series, float(value))


def counter(name: str, text: str, value: float, **labels: str) -> Sample:
    """Return one counter of the proxy itself."""
    series = Series(f"fodc_proxy_{name}_total", tuple(labels.items()), MetricType.COUNTER, text)
    return Sample(series, float(value))


def fleet_samples(members: Iterable[Member]) -> list[Sample]:
    """Return how many agents there are, by phase, contract and role."""
    counts = Counter((m.phase, m.contract, m.role) for m in members)
    return [
        gauge("agents", "Agents by phase.", n, phase=phase, contract=contract, node_role=role)
        for (phase, contract, role), n in sorted(counts.items())
    ]


def resident_bytes() -> int:
    """Return the resident memory of this process, 0 where it cannot be read."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * 4096
