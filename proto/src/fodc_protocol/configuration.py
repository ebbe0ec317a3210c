# SPDX-License-Identifier: Apache-2.0
"""The effective settings of a database node, and where nodes of one role differ.

The one idea: a node has no configuration API, but its argv, environment and files say what it was
told; what nobody set is the default everywhere and need not be known.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final

from fodc_protocol.lean import dataclass
from fodc_protocol.redaction import redact_text, redact_value, takes_next

ENVIRONMENT_PREFIX: Final = "BYDB_"


class Source(StrEnum):
    """Where a value came from, strongest first (upstream-agent §15.5)."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    FILE = "file"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """One setting as it may be shown; `redacted` says that the value is masked."""

    name: str
    value: str
    source: Source
    redacted: bool = False


@dataclass(frozen=True, slots=True)
class NodeConfiguration:
    """What one node was told: its command words ("data") and its settings, sorted by name."""

    command: tuple[str, ...]
    entries: tuple[ConfigEntry, ...]

    @property
    def hash(self) -> str:
        """Hash of command, names and shown values; equal for equal settings of any source."""
        return canonical_hash(self.command, self.entries)


def configuration_of(
    argv: Sequence[str],
    environ: Mapping[str, str] | None = None,
    file_values: Mapping[str, str] | None = None,
) -> NodeConfiguration:
    """Return what a node was told by argv (program name first), `BYDB_*` and file; redacted.

    A flag wins over the environment, that over the file. A flag given twice shows both values,
    joined by a comma: whether it is a list is the node's knowledge.
    """
    command, flags = _read_argv(argv[1:])
    layers = (
        (Source.FILE, dict(file_values or {})),
        (Source.ENVIRONMENT, _from_environment(environ or {})),
        (Source.FLAG, flags),
    )
    entries: dict[str, ConfigEntry] = {}
    for source, values in layers:
        for name, value in values.items():
            shown = redact_value(name, value)
            known_as = redact_text(name).value
            entries[known_as] = ConfigEntry(known_as, shown.value, source, shown.redacted)
    words = tuple(redact_text(word).value for word in command)
    return NodeConfiguration(words, tuple(entries[name] for name in sorted(entries)))


COMMANDS: Final = frozenset({"data", "liaison", "standalone", "meta", "lifecycle"})
"""What a node's program is told to be."""
_FLAG_SIGN: Final = re.compile(r"[=:]")
"""What ends the name of a flag; a colon is a slip of the pen, but the value is no less secret."""


def _read_argv(arguments: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Split into command words and flags; a flag without a value is a switch that is on.

    Whether a flag has a value is the node's knowledge; but without a command no node runs. So the
    first command that a flag seems to swallow is the command where no other is: `--tls data`.
    """
    words: list[str] = []
    values: dict[str, list[str]] = {}
    swallowed: tuple[str, str] | None = None
    waiting = ""
    for argument in arguments:
        if waiting and takes_next(waiting, argument):
            values[waiting].append(argument)
            if swallowed is None and argument in COMMANDS:
                swallowed = (waiting, argument)
            waiting = ""
        elif argument.startswith("-") and len(argument) > 1:
            name, separator, value = _FLAG_SIGN.sub("=", argument.lstrip("-"), 1).partition("=")
            values.setdefault(name, [])
            waiting = "" if separator else name
            if separator:
                values[name].append(value)
        else:
            words.append(argument)
            waiting = ""
    if swallowed is not None and not COMMANDS.intersection(words):
        name, command = swallowed
        values[name].remove(command)
        words.insert(0, command)
    return tuple(words), {
        name: ",".join(given) if given else "true" for name, given in values.items()
    }


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("_", "-"): value
        for name, value in environ.items()
        if name.startswith(ENVIRONMENT_PREFIX)
    }


def canonical_hash(command: Sequence[str], entries: Iterable[ConfigEntry]) -> str:
    """Return a SHA-256 over command, names and shown values, independent of order and source."""
    lines = sorted(f"{entry.name!r}={entry.value!r}" for entry in entries)
    text = "\n".join([repr(list(command)), *lines])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# ---- drift ----------------------------------------------------------------------------------

# Settings that rightly differ from node to node.
_IDENTITY: Final = re.compile(
    r"(^|[-_.])(host|hostname|addr|address|addresses|port|ports|root-path|node-name|node-id|"
    r"pod-name|node-labels|dir|advertise-[a-z-]+)$"
)


@dataclass(frozen=True, slots=True)
class Drift:
    """One name whose value is not the same on all nodes.

    `values` maps each value to its nodes; None stands for "not set" (the default). `majority` is
    the single most frequent value; without a single
    one both are empty and `has_majority` is False. `identity` marks names that tell nodes apart
    (hosts, paths), where a difference is expected.
    """

    name: str
    identity: bool
    values: Mapping[str | None, tuple[str, ...]]
    has_majority: bool
    majority: str | None


def is_identity(name: str) -> bool:
    """Say whether nodes are expected to differ in this setting."""
    return _IDENTITY.search(name) is not None


def drift(configurations: Mapping[str, Iterable[ConfigEntry]]) -> list[Drift]:
    """Return the names that differ among nodes, sorted; compare nodes of one role only.

    Masked values count as equal: they cannot be compared.
    """
    by_node = {
        node: {entry.name: entry.value for entry in entries}
        for node, entries in configurations.items()
    }
    names = sorted({name for values in by_node.values() for name in values})
    found = (_drift_of(name, by_node) for name in names)
    return [item for item in found if len(item.values) > 1]


def _drift_of(name: str, by_node: Mapping[str, Mapping[str, str]]) -> Drift:
    values: dict[str | None, tuple[str, ...]] = {}
    for node in sorted(by_node):
        value = by_node[node].get(name)
        values[value] = (*values.get(value, ()), node)
    ranked = Counter({value: len(nodes) for value, nodes in values.items()}).most_common(2)
    has_majority = len(ranked) == 1 or ranked[0][1] > ranked[1][1]
    majority = ranked[0][0] if has_majority else None
    return Drift(name, is_identity(name), values, has_majority, majority)
