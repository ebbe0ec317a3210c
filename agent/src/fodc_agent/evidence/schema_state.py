# SPDX-License-Identifier: Apache-2.0
"""What a node has of the schema, pure: snapshots of objects to fingerprints (upstream-agent §12.4).

The one idea: an object is hashed as it comes and let go, so a schema of any size costs its names
and two numbers each. What did not come whole is no evidence, and says so.
"""

from collections.abc import Iterable, Iterator
from dataclasses import field
from typing import Final

from fodc_agent.evidence.fingerprints import fingerprint
from fodc_protocol.lean import dataclass
from fodc_protocol.protobuf import Fields, WireError, message, messages, number, text, texts

TORN: Final = "node schema state"
"""How an error begins that says why a node's schema is no evidence."""
MOST_OBJECTS: Final = 65_536
MOST_RULES: Final = 16_384
_GROUP_NAME, _GROUP_ERRORS, _GROUP_SCHEMA = 1, 5, 6


@dataclass(slots=True)
class _Group:
    """One group as it comes in; `objects` are cache and runtime by kind and name."""

    rules: list[bytes] = field(default_factory=list)
    objects: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    received: int = 0
    node: str = ""
    errors: list[str] = field(default_factory=list)


class SchemaState:
    """The schema of a node as its events tell it."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._objects = 0

    def take(self, event: bytes) -> None:
        """Take one event; raises WireError for what is none, or for more than is kept."""
        match Fields(event).one_of():
            case (1, bytes(body)):
                self._object(Fields(body))
            case (2, bytes(body)):
                self._trailer(Fields(body))
            case (3, bytes(body)):
                self._rules(Fields(body))
            case _:
                return

    def _of(self, body: Fields) -> _Group:
        return self._groups.setdefault(body.text(1), _Group())

    def _rules(self, body: Fields) -> None:
        """Take a part of the table; bodies refer to its rules by their place in the whole."""
        group = self._of(body)
        group.rules += body.blobs(2)
        if len(group.rules) > MOST_RULES:
            raise WireError(f"{body.text(1)} has more than {MOST_RULES} index rules")

    def _object(self, body: Fields) -> None:
        group = self._of(body)
        group.received += 1
        self._objects += 1
        if self._objects > MOST_OBJECTS:
            raise WireError(f"the node has more than {MOST_OBJECTS} objects")
        kind, name = body.text(2), body.text(3)
        try:
            cache = _print(body.blob(4), kind, group.rules)
            runtime = _print(body.blob(5), kind, group.rules) if body.has(5) else cache
        except (WireError, IndexError) as error:
            group.errors.append(f"{TORN}: {kind} {name}: {error}")
            return
        group.objects[kind, name] = cache, runtime

    def _trailer(self, body: Fields) -> None:
        group = self._of(body)
        group.node = body.text(2)
        group.errors += (f"{TORN}: {error}" for error in body.texts(5))
        announced = body.number(4)
        if announced != group.received:
            group.errors.append(f"{TORN}: {group.received} of {announced} objects came")

    def groups(self) -> Iterator[tuple[str, bytes]]:
        """Yield names of groups, and what is put behind a GroupLifecycleInfo of that name.

        Objects of a group whose end did not come are nobody's, so they are not told.
        """
        for name, group in self._groups.items():
            schema = messages(2, _consistencies(group)) if group.node else b""
            told = message(_GROUP_SCHEMA, schema) if schema else b""
            yield name, texts(_GROUP_ERRORS, group.errors) + told


def _print(body: bytes, kind: str, rules: list[bytes]) -> int:
    """Return the fingerprint of a SchemaBody; raises IndexError for a rule that did not come."""
    told = Fields(body)
    bound = []
    for place in told.numbers(2):
        if place >= len(rules):
            words = f"index rule {place} is out of range, {len(rules)} are known"
            raise IndexError(words)
        bound.append(rules[place])
    return fingerprint(Fields(told.blob(1)).blob(2), kind, bound)


def _consistencies(group: _Group) -> Iterator[bytes]:
    for (kind, name), (cache, runtime) in sorted(group.objects.items()):
        has = text(1, group.node) + number(2, cache) + number(3, runtime)
        yield text(1, kind) + text(2, name) + message(4, has)


def with_schemas(groups: Iterable[bytes], state: SchemaState, problem: str = "") -> list[bytes]:
    """Return groups with what the node has of their schema, also those of which only it tells.

    `problem` is why the node's schema could not be read whole; it is told of every group.
    """
    schemas = dict(state.groups())
    behind = texts(_GROUP_ERRORS, [f"{TORN}: {problem}"]) if problem else b""
    told = []
    for group in groups:
        own = schemas.pop(Fields(group).text(_GROUP_NAME), b"")
        told.append(group + own + behind)
    return told + [text(_GROUP_NAME, name) + own + behind for name, own in schemas.items()]
