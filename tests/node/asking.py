# SPDX-License-Identifier: Apache-2.0
"""Raw HTTP towards a sample node, with deadlines, and a reader of pprof messages."""

from __future__ import annotations

import gzip
import http.client
from dataclasses import dataclass
from http.client import HTTPResponse

DEADLINE_S = 50.0


@dataclass(frozen=True)
class Said:
    status: int
    headers: dict[str, str]
    body: bytes


def ask(port: int, path: str, *, method: str = "GET", deadline_s: float = DEADLINE_S) -> Said:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=deadline_s)
    try:
        connection.request(method, path)
        response: HTTPResponse = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Said(response.status, headers, response.read())
    finally:
        connection.close()


def fields(message: bytes) -> list[tuple[int, int | bytes]]:
    """Split a protobuf message into field numbers and raw values."""
    found: list[tuple[int, int | bytes]] = []
    position = 0
    while position < len(message):
        key, position = varint(message, position)
        value: int | bytes
        value, position = varint(message, position)
        if key & 7 == 2:
            value, position = message[position : position + value], position + value
        else:
            assert key & 7 == 0, "only varints and bytes occur in a profile"
        found.append((key >> 3, value))
    return found


def varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


@dataclass(frozen=True)
class Profile:
    columns: list[str]
    samples: int
    functions: set[str]


def read_profile(body: bytes) -> Profile:
    message = fields(gzip.decompress(body))
    strings = [value.decode() for number, value in message if number == 6]
    columns = [strings[dict(fields(value))[1]] for number, value in message if number == 1]
    functions = {strings[dict(fields(value)).get(2, 0)] for number, value in message if number == 5}
    return Profile(columns, sum(number == 2 for number, _ in message), functions)
