# SPDX-License-Identifier: Apache-2.0
"""The merged page of many agents.

Rules: upstream-proxy §7.4, without its faults (two TYPE lines for one name, random order of
buckets).
"""

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from fodc_protocol.metrics.families import SUFFIXES, FamilyBlock, component_base
from fodc_protocol.metrics.grammar import escape_help, metric_name
from fodc_protocol.metrics.samples import MetricType

_Grouped: TypeAlias = dict[str, list[FamilyBlock]]


class FleetPage:
    """Collects the blocks of many agents and renders one page, family by family.

    `add` takes one agent after the other, so that a server can let others run in between; the
    order of agents is the order of samples inside a family.
    """

    __slots__ = ("_typed", "_untyped")

    def __init__(self) -> None:
        self._typed: _Grouped = {}
        self._untyped: _Grouped = {}

    def add(self, page: Iterable[FamilyBlock]) -> None:
        """Take the blocks of one more agent."""
        typed = self._typed
        for block in page:
            groups = typed if block.type else self._untyped
            known = groups.get(block.name)
            if known is None:
                groups[block.name] = [block]
            else:
                known.append(block)

    def families(self) -> Iterator[bytes]:
        """Yield HELP, TYPE and samples of each family: typed, guessed histograms, gauges (§7.4)."""
        return _families(_with_legal_keys(self._typed), _with_legal_keys(self._untyped))

    def drained(self) -> Iterator[bytes]:
        """Yield the same, and keep nothing: what was yielded is let go of family by family.

        Freeing the blocks of a large fleet at once takes as long as rendering some families.
        """
        typed, untyped = _with_legal_keys(self._typed), _with_legal_keys(self._untyped)
        self._typed, self._untyped = {}, {}
        return _families(typed, untyped)


def _families(typed: _Grouped, untyped: _Grouped) -> Iterator[bytes]:
    """Yield the families of groups of its own."""
    _absorb_components(typed)
    histograms, gauges = _guessed(_join_typed(typed, untyped))
    untyped.clear()
    for name in sorted(typed):
        blocks = typed.pop(name)
        yield _rendered(name, _type_of(blocks), blocks)
    for name in sorted(histograms):
        yield _rendered(name, MetricType.HISTOGRAM, histograms.pop(name))
    for name in sorted(gauges):
        yield _rendered(name, MetricType.GAUGE, gauges.pop(name))


def merge(pages: Iterable[Iterable[FamilyBlock]]) -> Iterator[bytes]:
    """Yield the page of all agents family by family; agents keep the given order (§7.4)."""
    fleet = FleetPage()
    for page in pages:
        fleet.add(page)
    yield from fleet.families()


def render_page(blocks: Iterable[FamilyBlock]) -> bytes:
    """Return the page of one agent."""
    return b"".join(merge((blocks,)))


def _with_legal_keys(groups: _Grouped) -> _Grouped:
    """Copy the groups; names that become equal once they are legal share one."""
    legal: _Grouped = {}
    for name, blocks in groups.items():
        legal.setdefault(metric_name(name), []).extend(blocks)
    return legal


def _rendered(name: str, kind: MetricType, blocks: list[FamilyBlock]) -> bytes:
    text = next((block.help for block in blocks if block.help), "")
    head = f"# HELP {name} {escape_help(text)}\n" if text else ""
    parts = [f"{head}# TYPE {name} {kind.text}\n".encode("utf-8", "replace")]
    parts.extend([block.text for block in blocks])
    return b"".join(parts)


def _type_of(blocks: list[FamilyBlock]) -> MetricType:
    """Return the first type that was given: a conflicting later one is merged under it."""
    return next(block.type for block in blocks if block.type)


def _absorb_components(typed: _Grouped) -> None:
    """Put a typed `x_count` under a histogram `x`: a second TYPE for it would break parsers."""
    for name in list(typed):
        base = component_base(name)
        if base in typed and name.endswith(SUFFIXES.get(_type_of(typed[base]), ())):
            typed[base].extend(typed.pop(name))


def _join_typed(typed: _Grouped, untyped: _Grouped) -> _Grouped:
    """Let untyped samples of mixed agent versions join their typed family; return the others."""
    rest: _Grouped = {}
    for name, blocks in untyped.items():
        home = typed.get(name) or typed.get(component_base(name))
        if home is None:
            rest[name] = blocks
        else:
            home.extend(blocks)
    return rest


def _guessed(untyped: _Grouped) -> tuple[_Grouped, _Grouped]:
    """Split into histograms (guessed from the suffix) and gauges.

    Where the bare name exists as well there is no guess: `x` and `x_bucket` are then gauges, each
    with one TYPE. Upstream printed `x` as a histogram and once more as a gauge.
    """
    histograms: _Grouped = {}
    gauges: _Grouped = {}
    for name in sorted(untyped):
        base = component_base(name)
        if base and base not in untyped:
            histograms.setdefault(base, []).extend(untyped[name])
        else:
            gauges[name] = untyped[name]
    return histograms, gauges
