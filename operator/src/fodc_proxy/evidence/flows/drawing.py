# SPDX-License-Identifier: Apache-2.0
"""Flows as DOT for Graphviz and as a drawing of their own in SVG, pure.

The one idea: who has no Graphviz sees the same: senders stand left, receivers right, and a node
that is both stands in the middle. Nothing that a node is called leaves its text.
"""

from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from fodc_api.flows import Flow, FlowKind, Flows

_COLORS = {FlowKind.WRITE: "#b35900", FlowKind.QUERY: "#1f5fa8", FlowKind.OTHER: "#666666"}
_WIDTH, _HEIGHT, _GAP, _COLUMN, _MARGIN = 190, 44, 22, 360, 30


def as_dot(flows: Flows) -> str:
    """Return a digraph; labels say rate and p99."""
    lines = ["digraph fodc {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif"];']
    told = {one.node_id: [one.node_id, _kind_of(one.role, one.tier)] for one in flows.nodes}
    for name in _names(flows):
        label = "\n".join(told.get(name, [name]))
        lines.append(f"  {_quoted(name)} [label={_quoted(label)}];")
    for one in flows.flows:
        color = _COLORS[one.kind]
        ends = f"{_quoted(one.source)} -> {_quoted(_target(one))}"
        lines.append(f'  {ends} [label={_quoted(label_of(one))}, color="{color}"];')
    return "\n".join([*lines, "}", ""])


def label_of(one: Flow) -> str:
    """Return what stands at a flow, such as "query 12.5/s p99 4 ms"."""
    rate = "" if one.per_second is None else f" {one.per_second:.3g}/s"
    p99 = "" if one.p99_seconds is None else f" p99 {one.p99_seconds * 1000:.3g} ms"
    errors = f" {one.errors_total:g} errors" if one.errors_total else ""
    return f"{one.operation or one.kind}{rate}{p99}{errors}"


def as_svg(flows: Flows) -> str:
    """Return a drawing that needs no other program."""
    places = _places(flows)
    columns = [sum(1 for x, _ in places.values() if x == at) for at in range(3)]
    height = 2 * _MARGIN + max(1, *columns) * (_HEIGHT + _GAP)
    width = 2 * _MARGIN + 2 * _COLUMN + _WIDTH
    told = {one.node_id: _kind_of(one.role, one.tier) for one in flows.nodes}
    space = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    font = 'font-family="sans-serif" font-size="12"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {space} {font}>']
    seen: dict[tuple[str, str], int] = {}
    for one in flows.flows:
        ends = one.source, _target(one)
        seen[ends] = seen.get(ends, 0) + 1
        parts += _line(one, places[ends[0]], places[ends[1]], seen[ends] - 1)
    for name, (column, row) in places.items():
        parts += _box(name, told.get(name, "not one of ours"), column, row)
    return "\n".join([*parts, "</svg>", ""])


def _target(one: Flow) -> str:
    return one.target_node_id or one.target


def _kind_of(role: str, tier: str | None) -> str:
    return " ".join(filter(None, (role.removeprefix("ROLE_").lower(), tier)))


def _names(flows: Flows) -> Sequence[str]:
    told = [one.node_id for one in flows.nodes]
    told += [name for one in flows.flows for name in (one.source, _target(one))]
    return list(dict.fromkeys(told))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _places(flows: Flows) -> dict[str, tuple[int, int]]:
    """Return column and row by name."""
    sources = {one.source for one in flows.flows}
    targets = {_target(one) for one in flows.flows}
    places: dict[str, tuple[int, int]] = {}
    rows = [0, 0, 0]
    for name in _names(flows):
        column = (0 if name in sources else 2) if (name in sources) != (name in targets) else 1
        places[name] = column, rows[column]
        rows[column] += 1
    return places


def _corner(place: tuple[int, int]) -> tuple[int, int]:
    return _MARGIN + place[0] * _COLUMN, _MARGIN + place[1] * (_HEIGHT + _GAP)


def _box(name: str, kind: str, column: int, row: int) -> Iterable[str]:
    x, y = _corner((column, row))
    yield (
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="4" '
        'fill="#f4f4f4" stroke="#444444"/>'
    )
    shown = name if len(name) <= 28 else f"…{name[-27:]}"
    yield f'<text x="{x + 8}" y="{y + 18}">{escape(shown)}<title>{escape(name)}</title></text>'
    yield f'<text x="{x + 8}" y="{y + 35}" fill="#666666">{escape(kind)}</text>'


def _line(one: Flow, start: tuple[int, int], end: tuple[int, int], lane: int) -> Iterable[str]:
    x1, y1 = _corner(start)
    x2, y2 = _corner(end)
    y1, y2 = y1 + 14 + 10 * (lane % 3), y2 + 14 + 10 * (lane % 3)
    x1 += _WIDTH
    if end[0] <= start[0]:
        # To the same column or back: around the right side.
        x2 += _WIDTH
    bend = max(60, abs(x2 - x1) // 2)
    color = _COLORS[one.kind]
    back = x2 + bend if end[0] <= start[0] else x2 - bend
    yield (
        f'<path d="M {x1} {y1} C {x1 + bend} {y1}, {back} {y2}, {x2} {y2}" fill="none" '
        f'stroke="{color}" stroke-width="1.5"/>'
    )
    yield f'<circle cx="{x2}" cy="{y2}" r="3" fill="{color}"/>'
    x, y = (x1 + x2) // 2 - 50, (y1 + y2) // 2 - 4
    yield f'<text x="{x}" y="{y}" fill="{color}" font-size="10">{escape(label_of(one))}</text>'
