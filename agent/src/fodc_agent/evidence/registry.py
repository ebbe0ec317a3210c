# SPDX-License-Identifier: Apache-2.0
"""The registry of schemas as fingerprints, out of a liaison's own lists (upstream-agent §12.5).

The one idea: one group at a time, and an object is hashed as it is read. A group that cannot be
read says so by itself; only without the list of groups there is nothing to tell.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

from fodc_agent.evidence.fingerprints import GROUP, INDEX_RULE, fingerprint, name_of
from fodc_agent.rpc.channel import RpcChannel
from fodc_agent.rpc.faults import RpcError
from fodc_protocol.protobuf import Fields, WireError, message, messages, number, text

_SERVICE: Final = "/banyandb.database.v1.{}RegistryService/List"
LIST_TIMEOUT_S: Final = 10.0
OBJECTS_IN_A_MESSAGE: Final = 50
LIST_BYTES: Final = 16 * 1024 * 1024
MOST_GROUPS: Final = 4096
_SUBJECTS: Final = {1: "Stream", 2: "Measure", 4: "Trace"}
"""What a group of a catalog has; a group of properties has rules only."""
DONE: Final = number(2, 1)


def _limit(_head: bytes) -> int:
    return LIST_BYTES


# ---- messages -----------------------------------------------------------------------------------


def group_messages(name: str, objects: Sequence[tuple[str, str, int]]) -> Iterator[bytes]:
    """Yield messages of a group with its objects: kind, name, fingerprint; at least one."""
    for at in range(0, max(1, len(objects)), OBJECTS_IN_A_MESSAGE):
        piece = objects[at : at + OBJECTS_IN_A_MESSAGE]
        told = (text(1, kind) + text(2, one) + number(3, value) for kind, one, value in piece)
        yield message(1, text(1, name) + messages(2, told))


def problem_message(name: str, problem: str) -> bytes:
    """Return the message of a group that could not be read; without a name, of all of them."""
    return message(1, text(1, name) + text(3, problem))


def bound_rules(
    bindings: Sequence[bytes], rules: Sequence[bytes], catalog: int, subject: str
) -> list[bytes]:
    """Return the index rules that bindings give a subject, in their order and as often.

    A rule that is bound and not there is left out, as the database does.
    """
    by_name = {name_of(rule): rule for rule in rules}
    found = []
    for binding in map(Fields, bindings):
        whom = Fields(binding.blob(3))
        if whom.text(2) == subject and whom.number(1) in (0, catalog):
            found += [by_name[name] for name in binding.texts(2) if name in by_name]
    return found


# ---- reading ------------------------------------------------------------------------------------


async def read_registry(channel: RpcChannel) -> AsyncIterator[bytes]:
    """Yield the messages of an answer, the last one says that all is told."""
    try:
        groups = await _listed(channel, "Group")
        if len(groups) > MOST_GROUPS:
            words = f"{len(groups)} groups, at most {MOST_GROUPS} are read"
            yield problem_message("", words)
            groups = ()
    except (RpcError, WireError) as error:
        yield problem_message("", f"list groups: {error}")
        groups = ()
    for group in groups:
        async for one in _of_group(channel, group):
            yield one
    yield DONE


async def _of_group(channel: RpcChannel, group: bytes) -> AsyncIterator[bytes]:
    name = ""
    try:
        name = name_of(group)
        objects = await _objects(channel, group, name)
    except (RpcError, WireError) as error:
        if name:
            yield problem_message(name, str(error))
        return
    for one in group_messages(name, objects):
        yield one


async def _objects(channel: RpcChannel, group: bytes, name: str) -> list[tuple[str, str, int]]:
    rules = await _listed(channel, "IndexRule", name)
    found = [(GROUP, name, fingerprint(group, GROUP))]
    found += [(INDEX_RULE, name_of(rule), fingerprint(rule, INDEX_RULE)) for rule in rules]
    catalog = Fields(group).number(2)
    service = _SUBJECTS.get(catalog)
    if service is None:
        return found
    bindings = await _listed(channel, "IndexRuleBinding", name)
    kind = service.lower()
    for subject in await _listed(channel, service, name):
        one = name_of(subject)
        bound = bound_rules(bindings, rules, catalog, one)
        found.append((kind, one, fingerprint(subject, kind, bound)))
    return found


async def _listed(channel: RpcChannel, service: str, group: str = "") -> tuple[bytes, ...]:
    """Return what a registry has of a group; all of them have it in their first field."""
    method = _SERVICE.format(service)
    told = await channel.unary(method, text(1, group), timeout_s=LIST_TIMEOUT_S, limit=_limit)
    return Fields(told).blobs(1)
