# SPDX-License-Identifier: Apache-2.0
"""Profiles (profile.proto) that a test writes, for what no recorded one has."""


def varint(number):
    more = number >> 7
    return bytes([number & 127 | (128 if more else 0)]) + (varint(more) if more else b"")


def message(field, content):
    return varint(field << 3 | 2) + varint(len(content)) + content


def cpu_profile(*, samples, seconds):
    """One function with samples/count and cpu/nanoseconds."""
    texts = ["", "samples", "count", "cpu", "nanoseconds", "main.work"]
    parts = [
        message(1, b"\x08\x01\x10\x02"),
        message(1, b"\x08\x03\x10\x04"),
        message(2, b"\x0a\x01\x01" + message(2, varint(samples) + varint(samples * 10_000_000))),
        message(4, b"\x08\x01" + message(4, b"\x08\x01")),
        message(5, b"\x08\x01\x10\x05"),
        *(message(6, text.encode()) for text in texts),
        varint(10 << 3) + varint(seconds * 1_000_000_000),
    ]
    return b"".join(parts)
