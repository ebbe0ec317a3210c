# SPDX-License-Identifier: Apache-2.0
"""How a record of a log is written: one line, whatever stands in it."""

import json
import re
from collections.abc import Mapping
from typing import Final

# Made once: `dumps` with an option makes one for each call.
_ENCODE: Final = json.JSONEncoder(ensure_ascii=False).encode
_IS_PLAIN: Final = re.compile(r"[!#-<>-~]+").fullmatch
"""Printable ASCII without blank, quote and equals sign."""


def log_line(fields: Mapping[str, str], *, as_json: bool) -> str:
    """Return key=value pairs, or one JSON object."""
    if as_json:
        return _ENCODE(dict(fields))
    return " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())


def _quoted(text: str) -> str:
    return text if _IS_PLAIN(text) else _ENCODE(text)
