# SPDX-License-Identifier: Apache-2.0
"""Shapes of answers that all routes share: JSON, problems in JSON, and Go's plain-text errors."""

import json
from collections.abc import Mapping

from aiohttp import web


def json_answer(
    value: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return `value` as JSON with a trailing newline; values that JSON lacks are an error here."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return web.Response(
        body=text.encode() + b"\n", status=status, headers=headers, content_type="application/json"
    )


def problem(
    status: int,
    reason: str,
    message: str,
    field: str | None = None,
    *,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Return the one shape of our JSON errors; `field` names the input that is wrong."""
    error = {"reason": reason, "field": field, "message": message}
    told = {key: value for key, value in error.items() if value is not None}
    return json_answer({"error": told}, status=status, headers=headers)


def text_error(status: int, message: str) -> web.Response:
    """Return an error as the existing proxy writes it: plain text, newline, nosniff."""
    return web.Response(
        body=f"{message}\n".encode(),
        status=status,
        headers={
            "Content-Type": "text/plain; charset=utf-8",
            "X-Content-Type-Options": "nosniff",
        },
    )
