# SPDX-License-Identifier: Apache-2.0
"""What somebody did, as one line of JSON in the form of the proxy's audit, to standard output.

The one idea: the API server asks before an object is gone, and nobody else knows who took it away.
"""

import json
import sys
from collections.abc import Mapping
from typing import Final

from fodc_protocol.times import format_rfc3339_ms

MAX_WORD_LENGTH: Final = 256


def line_of(deed: Mapping[str, str | int], time_ms: int) -> bytes:
    """Return the line with its end; what is too long is cut. Time in Unix milliseconds."""
    said = {name: _cut(value) if isinstance(value, str) else value for name, value in deed.items()}
    whole = {"time": format_rfc3339_ms(time_ms), **said}
    return json.dumps(whole, ensure_ascii=True).encode() + b"\n"


def to_stdout(line: bytes) -> None:
    """Write one line; a closed or full output costs the line and nothing else."""
    try:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
    except OSError:
        return


def _cut(text: str) -> str:
    return text if len(text) <= MAX_WORD_LENGTH else text[:MAX_WORD_LENGTH] + "…"
