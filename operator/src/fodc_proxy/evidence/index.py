# SPDX-License-Identifier: Apache-2.0
"""What nodes left behind, by node and name, within bounds, pure.

The one idea: a node's newest findings stay whatever becomes of the node, its agent or its own disk;
each node has places of its own, so none can push out what another left.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

MOST_OF_A_NODE: Final = 32
MOST_NODES: Final = 2000


class Found(Protocol):
    """Something that a node left behind."""

    @property
    def address(self) -> str:
        """Where the node is, or was."""

    @property
    def name(self) -> str:
        """What it is called on its node; newer ones have greater names."""


F = TypeVar("F", bound=Found)


@dataclass(slots=True)
class Index(Generic[F]):
    """Findings by the address of their node and their name."""

    most_of_a_node: int = MOST_OF_A_NODE
    most_nodes: int = MOST_NODES
    _nodes: dict[str, dict[str, F]] = field(default_factory=dict)

    def put(self, found: F) -> tuple[F, ...]:
        """Take one in, in place of the last of its name; return what had to give way."""
        kept = self._nodes.pop(found.address, {})
        self._nodes[found.address] = kept  # the node that told something last comes last
        kept[found.name] = found
        gone = [kept.pop(name) for name in sorted(kept)[: -self.most_of_a_node]]
        while len(self._nodes) > self.most_nodes:
            gone += self._nodes.pop(next(iter(self._nodes))).values()
        return tuple(gone)

    def get(self, address: str, name: str) -> F | None:
        """Return the finding of this name."""
        return self._nodes.get(address, {}).get(name)

    def of(self, address: str) -> tuple[F, ...]:
        """Return what is known of a node, the oldest first."""
        kept = self._nodes.get(address, {})
        return tuple(kept[name] for name in sorted(kept))

    def remove(self, address: str, fits: Callable[[F], bool]) -> None:
        """Forget those of a node that fit."""
        kept = self._nodes.get(address, {})
        for name in [one.name for one in kept.values() if fits(one)]:
            del kept[name]
        if not kept:
            self._nodes.pop(address, None)

    def all(self) -> Iterable[F]:
        """Return everything, by node and name."""
        return (one for address in sorted(self._nodes) for one in self.of(address))
