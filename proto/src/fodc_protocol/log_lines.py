# SPDX-License-Identifier: Apache-2.0
"""How a record of a log is written: one line, whatever stands in it."""

import json
from collections.abc import Mapping


def log_line(fields: Mapping[str, str], *, as_json: bool) -> str:
    """Return key=value pairs, or one JSON object."""
    if as_json:
        return json.dumps(dict(fields), ensure_ascii=False)
    return " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())


def _quoted(text: str) -> str:
    plain = text.isascii() and text.isprintable() and not set(' "=') & set(text)
    return text if plain and text else json.dumps(text, ensure_ascii=False)
