# SPDX-License-Identifier: Apache-2.0
"""Schema objects and snapshots of them as a node sends them, of fields that matter here."""

from fodc_protocol.protobuf import message, messages, number, text, texts

RULE_0 = bytes.fromhex("0a070a016712027230120161")
"""Index rule g/r0 over tag a."""
RULE_1 = bytes.fromhex("0a070a016712027231120162")
"""Index rule g/r1 over tag b."""
STREAM = bytes.fromhex("0a080a01671203666f6f1a0c0a0a736572766963655f6964")
"""Stream g/foo by entity service_id."""
GROUP = bytes.fromhex("0a0b120973775f6d65747269631002")
"""Group sw_metric of measures."""
PRINTED = {RULE_0: 14663331875789508413, STREAM: 16603785679174766058, GROUP: 4880780666055315959}
STREAM_WITH_RULES = 12865619460696559517


def metadata(
    name: str, group: str = "g", id_: int = 0, created: int = 0, changed: int = 0
) -> bytes:
    told = text(1, group) + text(2, name) + number(3, id_) + number(4, created) + number(5, changed)
    return message(1, told)


def body(payload: bytes, *refs: int) -> bytes:
    """A SchemaBody: the object in an Any, and places of its rules in the table."""
    wrapped = text(1, "type.googleapis.com/banyandb.database.v1.X") + message(2, payload)
    return message(1, wrapped) + (message(2, bytes(refs)) if refs else b"")


def snapshot(group: str, kind: str, name: str, cache: bytes, runtime: bytes | None = None) -> bytes:
    told = text(1, group) + text(2, kind) + text(3, name) + message(4, cache)
    return message(1, told + (b"" if runtime is None else message(5, runtime)))


def trailer(group: str, node: str, count: int, *errors: str) -> bytes:
    return message(2, text(1, group) + text(2, node) + number(4, count) + texts(5, errors))


def rule_table(group: str, *rules: bytes) -> bytes:
    return message(3, text(1, group) + messages(2, rules))


def binding(subject: str, catalog: int, *rules: str) -> bytes:
    return texts(2, rules) + message(3, number(1, catalog) + text(2, subject))
