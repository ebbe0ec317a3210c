# SPDX-License-Identifier: Apache-2.0
"""Whether the blocks of an agent may stand on the page of a fleet, and what makes them fit.

The one idea: a block costs its agent that family or it is sound; nothing in it can end the page,
forge a series of another agent, or make two equal series.  The lines of a block without their
values (its *outline*) are the same from one scrape to the next, so the grammar is looked at once
per outline, and there too a few times only: lines without what stands in their quotes (their
*shapes*) are nearly all alike.  A page with the outline of the last sound one is sound; else it is
looked at family by family, by the last verdict on each.
"""

import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import lru_cache
from typing import Final

from fodc_protocol.lean import dataclass
from fodc_protocol.metrics.families import FamilyBlock, sample_names
from fodc_protocol.metrics.grammar import is_metric_name, render_labels
from fodc_protocol.metrics.samples import OWNED_BY_PROXY, Labels, with_identity

OURS: Final = ("fodc_proxy_", "fodc_operator_", "fodc_webhook_")
"""How our own families begin: no agent may have one of them."""
_MOST_OUTLINES: Final = 2_000
_LONGEST_KEPT: Final = 512
_STEP_BYTES: Final = 16 * 1024
_NUMERALS: Final = b"0123456789+-.eEnaNiIfF "

_VALUE: Final = rb'"(?:[^"\\\n\x00]|\\["\\n])*"'
_QUOTED: Final = re.compile(_VALUE)
_PAIR: Final = re.compile(rb"([a-zA-Z_][a-zA-Z0-9_]*)=(" + _VALUE + rb")")
_LABEL: Final = rb'[a-zA-Z_][a-zA-Z0-9_]*=""'
_SHAPE: Final = re.compile(
    rb"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:" + _LABEL + rb"(?:," + _LABEL + rb")*)?)\})?"
)
# How Go and our agents write values; what is written otherwise is read as a number.
_PLAIN: Final = (
    rb"(?:-?[0-9]{1,150}(?:\.[0-9]{1,140})?(?:e[+-][0-9]{1,2})?|NaN|[+-]Inf)"  # surely in range
)
_PLAIN_END: Final = re.compile(rb" " + _PLAIN + rb"\n")
_PLAIN_VALUES: Final = re.compile(_PLAIN + rb"(?: " + _PLAIN + rb")*")
_ESCAPES: Final = re.compile(r"\\(.)")


class Unsound(StrEnum):
    """Why a family was left out; value of label `reason` of fodc_proxy_family_refused_total."""

    MALFORMED = "Malformed"
    BAD_TEXT = "BadText"
    BAD_VALUE = "BadValue"
    WRONG_FAMILY = "WrongFamily"
    RESERVED_NAME = "ReservedName"
    RESERVED_LABEL = "ReservedLabel"
    NAME_TWICE = "NameTwice"
    TOO_LARGE = "TooLarge"


class UnsoundError(Exception):
    """A block that must not be joined into a page."""

    def __init__(self, reason: Unsound) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of an outline."""

    reason: Unsound | None
    fits: bool = False
    """Every line has labels and the agent's identity as it is, and no two are equal."""
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Admitted:
    """The blocks of one agent that may be joined, and what was left out."""

    blocks: tuple[FamilyBlock, ...]
    refused: tuple[tuple[str, Unsound], ...] = ()
    duplicates: int = 0


class Gate:
    """Lets the blocks of one agent in; remembers what it found of their outlines."""

    __slots__ = ("_added", "_held", "_identity", "_known", "_last")

    def __init__(self, identity: Labels) -> None:
        """`identity` are the labels that every series of this agent gets."""
        self._identity = identity
        self._known: dict[str, tuple[int, Verdict]] = {}
        self._last: tuple[int, tuple[int, ...]] | None = None
        # What agents stamp themselves; the others are put before the first label.
        self._held = dict(pair for pair in identity if pair[0] not in _NOT_STAMPED)
        added = tuple(pair for pair in identity if pair[0] in _NOT_STAMPED)
        self._added = render_labels(added)[:-1].encode() + b"," if added else b""

    @property
    def identity(self) -> Labels:
        """The labels that every series of this agent gets."""
        return self._identity

    def steps(self, blocks: Iterable[FamilyBlock]) -> Generator[None, None, Admitted]:
        """Return what may stand on a page, each family once, in the order of arrival.

        Yields before that after every millisecond or so of a closer look.
        """
        whole = joined(blocks)
        outline = _outline_of(whole)
        number = hash((outline, *[(one.name, one.type) for one in whole])) if outline else None
        if number is not None and self._last is not None and self._last[0] == number:
            return Admitted(tuple(map(self._fitting, whole, self._last[1])))
        outlines = outline.split(b"\0") if outline else [b""] * len(whole)
        admitted = yield from self._admit_each(whole, outlines)
        if number is not None and self._all_fit(whole, admitted):
            self._last = number, tuple([block.samples for block in admitted.blocks])
        return admitted

    def _all_fit(self, whole: Sequence[FamilyBlock], admitted: Admitted) -> bool:
        found = [self._known.get(block.name) for block in whole]
        fits = all(one is not None and one[1].fits for one in found)
        return fits and len(admitted.blocks) == len(whole)

    def _admit_each(
        self, blocks: Sequence[FamilyBlock], outlines: Sequence[bytes]
    ) -> Generator[None, None, Admitted]:
        admitted: list[FamilyBlock] = []
        refused: list[tuple[str, Unsound]] = []
        owners: dict[str, FamilyBlock] = {}
        duplicates = seen_bytes = 0
        for block, outline in zip(blocks, outlines, strict=True):
            seen_bytes += len(block.text)
            if seen_bytes > _STEP_BYTES:
                seen_bytes = 0
                yield
            try:
                whole = outline if outline.endswith(b"\n") else _outline_by_line(block.text)
                sound = self._admitted(block, whole, owners)
            except UnsoundError as error:
                refused.append((block.name, error.reason))
                continue
            if sound.samples:
                duplicates += whole.count(b"\n") - sound.samples
                admitted.append(sound)
        return Admitted(tuple(admitted), tuple(refused), duplicates)

    def _admitted(
        self, block: FamilyBlock, outline: bytes, owners: dict[str, FamilyBlock]
    ) -> FamilyBlock:
        verdict = self._verdict(block, outline)
        if verdict.reason is not None:
            raise UnsoundError(verdict.reason)
        if not owners.keys().isdisjoint(verdict.names):
            raise UnsoundError(Unsound.NAME_TWICE)
        owners.update(dict.fromkeys(verdict.names, block))
        if verdict.fits:
            return self._fitting(block, outline.count(b"\n"))
        lines = _rewritten(block.text, self._identity)
        return replace(block, text=b"".join(lines), samples=len(lines))

    def _fitting(self, block: FamilyBlock, samples: int) -> FamilyBlock:
        """Return a block whose lines have the identity but for what agents do not stamp."""
        text = _ended(block)
        if self._added:
            text = text.replace(b"{", self._added)
        return FamilyBlock(block.name, block.type, block.help, text, samples)

    # ---- verdicts -------------------------------------------------------------------------------

    def _verdict(self, block: FamilyBlock, outline: bytes) -> Verdict:
        number = hash((outline, block.type))
        known = self._known.get(block.name)
        if known is not None and known[0] == number:
            return known[1]
        verdict = judged(block, outline, self._held)
        if len(self._known) < _MOST_OUTLINES or block.name in self._known:
            self._known[block.name] = (number, verdict)
        return verdict


_NOT_STAMPED: Final = frozenset({"namespace", "cluster"})


def joined(blocks: Iterable[FamilyBlock]) -> list[FamilyBlock]:
    """Put the blocks of one family together: agents divide what is larger than a frame."""
    whole = list(blocks)
    if len({block.name for block in whole}) == len(whole):
        return whole
    families: dict[tuple[str, bool], list[FamilyBlock]] = {}
    for block in whole:
        families.setdefault((block.name, block.type == 0), []).append(block)
    return [
        parts[0]
        if len(parts) == 1
        else replace(parts[0], text=b"".join(map(_ended, parts)), samples=0)
        for parts in families.values()
    ]


def _ended(block: FamilyBlock) -> bytes:
    return block.text if block.text.endswith(b"\n") else block.text + b"\n"


def _outline_of(blocks: Sequence[FamilyBlock]) -> bytes | None:
    """Return the outlines of a page with NUL in between, None where it needs a closer look."""
    whole = b"\0".join([block.text for block in blocks])
    if whole.count(b"\0") >= max(1, len(blocks)) or not whole.endswith(b"\n"):
        return None
    outline, values = _PLAIN_END.subn(b"\n", whole)
    return outline if values == whole.count(b"\n") else None


def _outline_by_line(text: bytes) -> bytes:
    """Return the outline of one block, each line ending in a newline; raises UnsoundError."""
    prefixes, values = _split(text)
    _check_values(values)
    return b"\n".join([*prefixes, b""])


def _split(text: bytes) -> tuple[list[bytes], list[bytes]]:
    """Return what stands before the last blank of each line, and what stands behind it."""
    lines = text.split(b"\n")
    if not lines[-1]:
        lines.pop()
    parts = [line.rpartition(b" ") for line in lines]
    return [prefix for prefix, _, _ in parts], [value for _, _, value in parts]


def _check_values(values: list[bytes]) -> None:
    """Accept what Go and Python both read as a double: no 1_000, no +NaN, nothing out of range."""
    text = b" ".join(values)
    if not values or _PLAIN_VALUES.fullmatch(text):
        return
    if not all(values):
        raise UnsoundError(Unsound.MALFORMED)
    if text.translate(None, _NUMERALS) or b"+N" in text or b"-N" in text or b"+n" in text:
        raise UnsoundError(Unsound.BAD_VALUE)
    try:
        numbers = list(map(float, values))
    except ValueError:
        raise UnsoundError(Unsound.BAD_VALUE) from None
    if (_INFINITE in numbers or -_INFINITE in numbers) and not all(
        b"n" in value.lower()
        for value, number in zip(values, numbers, strict=True)
        if abs(number) == _INFINITE
    ):
        raise UnsoundError(Unsound.BAD_VALUE)


_INFINITE: Final = float("inf")


def judged(block: FamilyBlock, outline: bytes, stamped: Mapping[str, str]) -> Verdict:
    """Look at an outline: at each shape of its lines once."""
    if block.name.startswith(OURS):
        return Verdict(Unsound.RESERVED_NAME)
    if not is_metric_name(block.name):
        return Verdict(Unsound.MALFORMED)
    shapes = shapes_of(outline)
    if shapes is None:
        return Verdict(Unsound.MALFORMED)
    different = dict.fromkeys(shapes)
    kinds = [_kind_of(shape) for shape in different]
    reason = next((kind.reason for kind in kinds if kind.reason is not None), None)
    if reason is not None:
        return Verdict(reason)
    names = frozenset([kind.name for kind in kinds])
    if not names <= sample_names(block.name, block.type):
        return Verdict(Unsound.WRONG_FAMILY)
    if not _is_utf8(outline):
        return Verdict(Unsound.BAD_TEXT)
    lines = outline.split(b"\n")
    # Lines of one kind and one order of labels are equal series when they are equal texts.
    kept = {(kind.name, kind.labels) for kind in kinds}
    is_each_once = len(kept) == len(different) and len(set(lines)) == len(lines)
    fits = is_each_once and _all_have(outline, len(shapes), kinds, stamped)
    return Verdict(None, fits, names)


def shapes_of(outline: bytes) -> list[bytes] | None:
    """Return the lines with `""` for what stands in quotes, None where quotes are not in order."""
    if b"\0" in outline:
        return None
    if b"\\" in outline:  # a quote that is left over stands beside no other, as in no shape
        return _QUOTED.sub(b'""', outline).split(b"\n")[:-1]
    pieces = outline.split(b'"')
    text = b'""'.join(pieces[::2])
    in_order = len(pieces) % 2 and text.count(b"\n") == outline.count(b"\n")
    return text.split(b"\n")[:-1] if in_order else None


@dataclass(frozen=True, slots=True)
class _Kind:
    """What lines of one shape have, in whatever order, and why they must not stand."""

    name: str
    labels: frozenset[bytes]
    reason: Unsound | None = None


_MALFORMED: Final = _Kind("", frozenset(), Unsound.MALFORMED)


def _kind_of(shape: bytes) -> _Kind:
    return _kept_kind_of(shape) if len(shape) < _LONGEST_KEPT else _read_kind_of(shape)


def _read_kind_of(shape: bytes) -> _Kind:
    found = _SHAPE.fullmatch(shape)
    if found is None:
        return _MALFORMED
    listed = [one[:-3] for one in found[2].split(b",")] if found[2] else []
    labels = frozenset(listed)
    reason = None
    if len(labels) != len(listed):
        reason = Unsound.MALFORMED
    elif any(one.startswith(b"__") for one in listed):
        reason = Unsound.RESERVED_LABEL
    return _Kind(found[1].decode(), labels, reason)


# The agents of a fleet have the same shapes, and each is read from the first of them.
_kept_kind_of: Final = lru_cache(maxsize=4096)(_read_kind_of)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _all_have(
    outline: bytes, lines: int, kinds: Sequence[_Kind], stamped: Mapping[str, str]
) -> bool:
    """Say whether every line has the agent's identity, no label that is empty, and one brace."""
    if b'=""' in outline or outline.count(b"{") != lines:
        return False
    listed = {kind.labels for kind in kinds}
    owned = [name.encode() for name in OWNED_BY_PROXY if name not in stamped]
    if not all(listed) or any(not labels.isdisjoint(owned) for labels in listed):
        return False
    return all(_all_say(outline, lines, listed, *pair) for pair in stamped.items())


def _all_say(
    outline: bytes, lines: int, listed: Iterable[frozenset[bytes]], name: str, value: str
) -> bool:
    """Say whether every line has this label with this value, written as it is."""
    if any(odd in value for odd in '"\\\n'):
        return False
    # Quotes within values are escaped, so this stands nowhere else than where labels do.
    needle, ending = f'{name}="{value}"'.encode(), name.encode()
    alike = {label for labels in listed for label in labels if label.endswith(ending)}
    if alike == {ending}:
        return outline.count(needle) == lines
    return outline.count(b"{" + needle) + outline.count(b"," + needle) == lines


def _rewritten(text: bytes, identity: Labels) -> list[bytes]:
    """Render the lines of a sound block anew with the identity; of equal ones the first stays."""
    lines: dict[str, bytes] = {}
    for prefix, value in zip(*_split(text), strict=True):
        name = prefix.partition(b"{")[0].decode()
        pairs = [
            (label.decode(), _unescaped(quoted[1:-1])) for label, quoted in _PAIR.findall(prefix)
        ]
        own = tuple(pair for pair in pairs if pair[1])  # empty is no label
        series = name + render_labels(with_identity(own, identity))
        lines.setdefault(series, series.encode() + b" " + value + b"\n")
    return list(lines.values())


def _unescaped(value: bytes) -> str:
    text = value.decode()
    return _ESCAPES.sub(_unescape, text) if "\\" in text else text


def _unescape(found: "re.Match[str]") -> str:
    return "\n" if found[1] == "n" else str(found[1])
