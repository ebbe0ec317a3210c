# SPDX-License-Identifier: Apache-2.0
"""What somebody did, as one line of JSON in the form of the proxy's audit, to standard output.

The one idea: the API server asks before an object is gone, and nobody else knows who took it away.
Whoever reaches the port may pretend to be an API server, so a line says that it is told by
admission, and there are only so many a second.
"""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Final

from fodc_protocol.audit_lines import audit_line

AT_ONCE: Final = 100.0
PER_S: Final = 10.0


class Lines:
    """Writes lines; of a flood some, with how many more there were."""

    def __init__(
        self, write: Callable[[bytes], None], clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._clock_s = clock_s
        self._places = AT_ONCE
        self._filled_s = clock_s()
        self._passed_over = 0

    def note(self, deed: Mapping[str, str | int]) -> None:
        """Write one line, or count it."""
        now_s = self._clock_s()
        self._places = min(AT_ONCE, self._places + (now_s - self._filled_s) * PER_S)
        self._filled_s = now_s
        if self._places < 1:
            self._passed_over += 1
            return
        self._places -= 1
        told = f"{self._passed_over} since the last line"
        more = {"more": told} if self._passed_over else {}
        self._passed_over = 0
        self._write(audit_line({**deed, **more}, round(time.time() * 1000)))


def to_stdout(line: bytes) -> None:
    """Write one line; a closed or full output costs the line and nothing else."""
    try:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
    except OSError:
        return
