# SPDX-License-Identifier: Apache-2.0
"""The end of what a container wrote: bounded, readable, without secrets; pure."""

import re
from typing import Final

from fodc_protocol.redaction import redact_text

MOST_LINES: Final = 500
MOST_READ_BYTES: Final = 1024 * 1024
MOST_KEPT_BYTES: Final = 64 * 1024
_UNREADABLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def tail_of(data: bytes) -> str:
    """Return the last 64 KiB of a log from the begin of a line on, with secrets masked.

    Each line is masked for itself, so that a secret that one opens does not hide the rest.
    """
    text = _UNREADABLE.sub("?", data.decode("utf-8", "replace"))
    shown = "".join(redact_text(line).value for line in text.splitlines(keepends=True))
    kept = shown.encode("utf-8", "replace")[-MOST_KEPT_BYTES:]
    if len(kept) < len(shown.encode("utf-8", "replace")):
        kept = kept.partition(b"\n")[2]
    return kept.decode("utf-8", "ignore")
