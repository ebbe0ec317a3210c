# SPDX-License-Identifier: Apache-2.0
"""Fingerprints of schema objects, pure (upstream-agent §12.6).

The one idea: what the database sends is in the order of its own encoder, so an object is never
decoded and encoded again: its bytes are taken as they came, without what differs between nodes that
agree (id and revisions), and with the entries of maps in the order of their keys.

Vectors of XXH64 are public; those of whole objects are in the tests.
"""

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from fodc_protocol.protobuf import Fields, WireError, message, read_field

GROUP: Final = "group"
INDEX_RULE: Final = "indexRule"
_METADATA: Final = 1
_REVISIONS: Final = frozenset({3, 4, 5})
"""Of common.v1.Metadata: id, create_revision, mod_revision."""

_MASK: Final = (1 << 64) - 1
_words: Final = struct.Struct("<4Q").iter_unpack
_P1: Final = 0x9E3779B185EBCA87
_P2: Final = 0xC2B2AE3D27D4EB4F
_P3: Final = 0x165667B19E3779F9
_P4: Final = 0x85EBCA77C2B2AE63
_P5: Final = 0x27D4EB2F165667C5


# ---- XXH64 --------------------------------------------------------------------------------------


def xxh64(data: bytes) -> int:
    """Return XXH64 of the data with seed 0."""
    size = len(data)
    whole = size - size % 32
    value = _lanes(data[:whole]) if whole else _P5
    return _avalanche(_rest(data, whole, (value + size) & _MASK))


def _lanes(data: bytes) -> int:
    """Take in whole 32 bytes; written out, since a schema has megabytes of them."""
    one, two, three, four = (_P1 + _P2) & _MASK, _P2, 0, -_P1 & _MASK
    for first, second, third, fourth in _words(data):
        one = (one + first * _P2) & _MASK
        one = (one << 31 | one >> 33) * _P1 & _MASK
        two = (two + second * _P2) & _MASK
        two = (two << 31 | two >> 33) * _P1 & _MASK
        three = (three + third * _P2) & _MASK
        three = (three << 31 | three >> 33) * _P1 & _MASK
        four = (four + fourth * _P2) & _MASK
        four = (four << 31 | four >> 33) * _P1 & _MASK
    lanes = (one, two, three, four)
    value = sum(map(_turned, lanes, (1, 7, 12, 18))) & _MASK
    for lane in lanes:
        value = ((value ^ _round(0, lane)) * _P1 + _P4) & _MASK
    return value


def _rest(data: bytes, at: int, value: int) -> int:
    """Take in what is behind the last 32 bytes that are whole."""
    while at + 8 <= len(data):
        value = (_turned(value ^ _round(0, _word(data, at)), 27) * _P1 + _P4) & _MASK
        at += 8
    if at + 4 <= len(data):
        part = int.from_bytes(data[at : at + 4], "little")
        value = (_turned(value ^ part * _P1 & _MASK, 23) * _P2 + _P3) & _MASK
        at += 4
    for byte in data[at:]:
        value = _turned(value ^ byte * _P5 & _MASK, 11) * _P1 & _MASK
    return value


def _avalanche(value: int) -> int:
    value = (value ^ value >> 33) * _P2 & _MASK
    value = (value ^ value >> 29) * _P3 & _MASK
    return value ^ value >> 32


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


def _round(lane: int, word: int) -> int:
    return _turned((lane + word * _P2) & _MASK, 31) * _P1 & _MASK


def _turned(value: int, bits: int) -> int:
    return (value << bits | value >> 64 - bits) & _MASK


# ---- objects ------------------------------------------------------------------------------------

_Change: TypeAlias = Callable[[bytes], bytes]


def _each(data: bytes, changes: Mapping[int, _Change]) -> bytes:
    """Return a message with the embedded messages of these numbers changed."""
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        number, value, end = read_field(data, at)
        if number in changes and isinstance(value, bytes):
            parts.append(message(number, changes[number](value)))
        else:
            parts.append(data[at:end])
        at = end
    return b"".join(parts)


def _named(metadata: bytes) -> bytes:
    """Return Metadata with group and name, and what is not known here."""
    parts: list[bytes] = []
    at = 0
    while at < len(metadata):
        number, _, end = read_field(metadata, at)
        if number not in _REVISIONS:
            parts.append(metadata[at:end])
        at = end
    return b"".join(parts)


def _struct(data: bytes) -> bytes:
    """Return a google.protobuf.Struct by its keys; an encoder may write a map in any order."""
    entries = [_each(entry, {2: _value}) for entry in Fields(data).blobs(1)]
    return b"".join(message(1, one) for one in sorted(entries, key=lambda e: Fields(e).blob(1)))


def _value(data: bytes) -> bytes:
    return _each(data, {5: _struct, 6: _list})


def _list(data: bytes) -> bytes:
    return _each(data, {1: _value})


def _plugin(data: bytes) -> bytes:
    return _each(data, {4: _struct})


def _stage(data: bytes) -> bytes:
    return _each(data, {2: _plugin})


def _pipeline(data: bytes) -> bytes:
    return _each(data, {3: _stage, 6: _plugin})


_OF_OBJECT: Final[Mapping[int, _Change]] = {_METADATA: _named}
_OF_GROUP: Final[Mapping[int, _Change]] = {_METADATA: _named, 6: _pipeline}


def base(subject: bytes, kind: str = "") -> int:
    """Return the hash of an object by itself; raises WireError for what is none."""
    try:
        return xxh64(_each(subject, _OF_GROUP if kind == GROUP else _OF_OBJECT))
    except RecursionError as error:
        raise WireError("a message is nested too deep") from error


def fingerprint(subject: bytes, kind: str, rules: Iterable[bytes] = ()) -> int:
    """Return the fingerprint of an object and of the index rules that are bound to it.

    The order of the rules does not matter, nor how often one of a name is bound.
    """
    bound: dict[bytes, bytes] = {}
    for rule in rules:
        bound.setdefault(_key(rule), rule)
    hashes = [base(subject, kind), *(base(bound[key]) for key in sorted(bound))]
    return xxh64(b"".join(one.to_bytes(8, "little") for one in hashes))


def _key(rule: bytes) -> bytes:
    named = Fields(Fields(rule).blob(_METADATA))
    return named.blob(1) + b"/" + named.blob(2)


def name_of(subject: bytes) -> str:
    """Return the name of an object or a group; raises WireError."""
    return Fields(Fields(subject).blob(_METADATA)).text(2)
