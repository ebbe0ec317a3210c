# SPDX-License-Identifier: Apache-2.0
"""Whether the blocks of an agent may stand on the page of a fleet, and what makes them fit.

The one idea: a block costs its agent that family or it is sound; nothing in it can end the page,
forge a series of another agent, or make two equal series.  The lines of a block without their
values (its *outline*) are the same from one scrape to the next, so the grammar is looked at once
per outline: a page with the outline of the last sound one is sound; else it is looked at family by
family, by the agent's own last verdict, or by a verdict on the same outline of another agent, in
which only the identity differs.  What is left for each scrape is to split lines and to see that
the values are numbers.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from enum import StrEnum
from typing import Final

from fodc_protocol.lean import dataclass
from fodc_protocol.metrics.families import FamilyBlock, sample_names
from fodc_protocol.metrics.grammar import is_metric_name, render_labels
from fodc_protocol.metrics.samples import OWNED_BY_PROXY, Labels, with_identity

OURS: Final = ("fodc_proxy_", "fodc_operator_", "fodc_webhook_")
"""How our own families begin: no agent may have one of them."""
_MOST_OUTLINES: Final = 2_000
_MOST_SHARED_OUTLINES: Final = 20_000
_NUMERALS: Final = b"0123456789+-.eEnaNiIfF "
_PLACEHOLDER: Final = b'="%"'

_PAIR_TEXT: Final = rb'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n\x00]|\\["\\n])*"'
_LINE: Final = re.compile(
    rb"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:" + _PAIR_TEXT + rb"(?:," + _PAIR_TEXT + rb")*)?)\})?"
)
_PAIR: Final = re.compile(rb'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n\x00]|\\["\\n])*)"')
_PLAIN: Final = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?(?: -?[0-9]+(?:\.[0-9]+)?)*")
_SURELY_FINITE: Final = 300
_PIECE_BYTES: Final = 32 * 1024
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


@dataclass(slots=True)
class SharedVerdicts:
    """Verdicts on outlines in which the identity is replaced, for all agents of a fleet."""

    known: dict[tuple[str, int, int], Verdict] = field(default_factory=dict)

    def put(self, key: tuple[str, int, int], verdict: Verdict) -> None:
        """Keep a verdict; the table begins anew when it is full."""
        if len(self.known) >= _MOST_SHARED_OUTLINES:
            self.known.clear()
        self.known[key] = verdict


class Gate:
    """Lets the blocks of one agent in; remembers what it found of their outlines."""

    __slots__ = ("_added", "_held", "_identity", "_known", "_last", "_stamped", "shared")

    def __init__(self, identity: Labels, shared: SharedVerdicts | None = None) -> None:
        """`identity` are the labels that every series of this agent gets."""
        self.shared = shared or SharedVerdicts()
        self._identity = identity
        self._known: dict[str, tuple[int, Verdict]] = {}
        self._last: tuple[int, tuple[int, ...]] | None = None
        # What agents stamp themselves; the others are put before the first label.
        self._stamped = tuple(pair for pair in identity if pair[0] not in _NOT_STAMPED)
        added = tuple(pair for pair in identity if pair[0] in _NOT_STAMPED)
        self._added = render_labels(added)[:-1].encode() + b"," if added else b""
        self._held = dict(self._stamped)

    @property
    def identity(self) -> Labels:
        """The labels that every series of this agent gets."""
        return self._identity

    def admit(self, blocks: Iterable[FamilyBlock]) -> Admitted:
        """Return what may stand on a page, each family once, in the order of arrival."""
        whole = joined(blocks)
        number = _number_of(whole)
        if number is not None and self._last is not None and self._last[0] == number:
            return Admitted(tuple(map(self._fitting, whole, self._last[1])))
        admitted = self._admit_each(whole)
        if number is not None and self._all_fit(whole, admitted):
            self._last = number, tuple([block.samples for block in admitted.blocks])
        return admitted

    def _all_fit(self, whole: Sequence[FamilyBlock], admitted: Admitted) -> bool:
        found = [self._known.get(block.name) for block in whole]
        fits = all(one is not None and one[1].fits for one in found)
        return fits and len(admitted.blocks) == len(whole)

    def _admit_each(self, blocks: Iterable[FamilyBlock]) -> Admitted:
        admitted: list[FamilyBlock] = []
        refused: list[tuple[str, Unsound]] = []
        owners: dict[str, FamilyBlock] = {}
        duplicates = 0
        for block in blocks:
            try:
                sound = self._admitted(block, owners)
            except UnsoundError as error:
                refused.append((block.name, error.reason))
                continue
            if sound.samples:
                duplicates += block.text.count(b"\n") - sound.samples
                admitted.append(sound)
        return Admitted(tuple(admitted), tuple(refused), duplicates)

    def _admitted(self, block: FamilyBlock, owners: dict[str, FamilyBlock]) -> FamilyBlock:
        prefixes, values = _split(block.text)
        _check_values(values)
        verdict = self._verdict(block, prefixes)
        if verdict.reason is not None:
            raise UnsoundError(verdict.reason)
        if not owners.keys().isdisjoint(verdict.names):
            raise UnsoundError(Unsound.NAME_TWICE)
        owners.update(dict.fromkeys(verdict.names, block))
        if verdict.fits:
            return self._fitting(block, len(prefixes))
        lines = _rewritten(prefixes, values, self._identity)
        return replace(block, text=b"".join(lines), samples=len(lines))

    def _fitting(self, block: FamilyBlock, samples: int) -> FamilyBlock:
        """Return a block whose lines have the identity but for what agents do not stamp."""
        text = _ended(block)
        if self._added:
            text = text.replace(b"{", self._added)
        return FamilyBlock(block.name, block.type, block.help, text, samples)

    # ---- verdicts -------------------------------------------------------------------------------

    def _verdict(self, block: FamilyBlock, prefixes: list[bytes]) -> Verdict:
        outline = b"\n".join(prefixes)
        number = hash((outline, block.type))
        known = self._known.get(block.name)
        if known is not None and known[0] == number:
            return known[1]
        verdict = self._found(block, prefixes, outline)
        if len(self._known) < _MOST_OUTLINES or block.name in self._known:
            self._known[block.name] = (number, verdict)
        return verdict

    def _found(self, block: FamilyBlock, prefixes: list[bytes], outline: bytes) -> Verdict:
        """Look the outline up without its identity; judge it when nobody has sent it yet."""
        general = self._general(outline, len(prefixes))
        if general is None:
            return judged(block, prefixes, self._held)
        key = (block.name, int(block.type), hash((general, *self._held)))
        verdict = self.shared.known.get(key)
        if verdict is None:
            verdict = judged(block, prefixes, self._held)
            self.shared.put(key, verdict)
        return verdict

    def _general(self, outline: bytes, lines: int) -> bytes | None:
        """Replace the values of the identity; None where a line has not all of them.

        A run of characters between two quotes gives way to another one without quotes, so the
        grammar of a line is the same before and after.
        """
        for pair in self._stamped:
            needle = render_labels((pair,))[1:-1].encode()
            if b"\\" in needle or outline.count(needle) != lines:
                return None
            outline = outline.replace(needle, pair[0].encode() + _PLACEHOLDER)
        return outline


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


def _number_of(blocks: Sequence[FamilyBlock]) -> int | None:
    """Return a number for the outline of a whole page, None where it needs a closer look.

    Some blocks at a time: pieces that fit a cache are gone through twice as fast.
    """
    numbers: list[object] = []
    some: list[bytes] = []
    size = 0
    for block in blocks:
        numbers.append((block.name, block.type))
        some.append(block.text)
        size += len(block.text)
        if size > _PIECE_BYTES:
            numbers.append(_number_of_texts(some))
            some, size = [], 0
    if some:
        numbers.append(_number_of_texts(some))
    return None if None in numbers else hash(tuple(numbers))


def _number_of_texts(texts: Sequence[bytes]) -> int | None:
    whole = b"\0".join(texts)
    if whole.count(b"\0") != len(texts) - 1 or not whole.endswith(b"\n"):
        return None
    prefixes, values = _split(whole)
    return hash(b"\n".join(prefixes)) if _are_plain(values) else None


def _are_plain(values: list[bytes]) -> bool:
    """Say whether all values are written as our agents write most: digits, perhaps a point."""
    text = b" ".join(values)
    return _PLAIN.fullmatch(text) is not None and max(map(len, values)) < _SURELY_FINITE


def _split(text: bytes) -> tuple[list[bytes], list[bytes]]:
    """Return what stands before the last blank of each line, and what stands behind it."""
    lines = text.split(b"\n")
    if not lines[-1]:
        lines.pop()
    parts = [line.rpartition(b" ") for line in lines]
    return [prefix for prefix, _, _ in parts], [value for _, _, value in parts]


def _check_values(values: list[bytes]) -> None:
    """Accept what Go and Python both read as a double: no 1_000, no +NaN, nothing out of range."""
    if not values or _are_plain(values):
        return
    if not all(values):
        raise UnsoundError(Unsound.MALFORMED)
    text = b" ".join(values)
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


def judged(block: FamilyBlock, prefixes: list[bytes], stamped: Mapping[str, str]) -> Verdict:
    """Look at every line of an outline."""
    if block.name.startswith(OURS):
        return Verdict(Unsound.RESERVED_NAME)
    if not is_metric_name(block.name):
        return Verdict(Unsound.MALFORMED)
    names: set[bytes] = set()
    seen: set[tuple[object, ...]] = set()
    fits = True
    for prefix in prefixes:
        found = _LINE.fullmatch(prefix)
        if found is None:
            return Verdict(Unsound.MALFORMED)
        name, labels = found.groups()
        names.add(name)
        pairs = _PAIR.findall(labels) if labels else []
        by_name = dict(pairs)
        if len(by_name) != len(pairs):
            return Verdict(Unsound.MALFORMED)
        if any(one.startswith(b"__") for one in by_name):
            return Verdict(Unsound.RESERVED_LABEL)
        seen.add((name, *sorted(pairs)))
        fits = (
            fits
            and b"" not in by_name.values()
            and _has_identity(by_name, stamped)
            and prefix.count(b"{") == 1
        )
    return _of_names(block, prefixes, names, fits=fits and len(seen) == len(prefixes))


def _has_identity(by_name: Mapping[bytes, bytes], stamped: Mapping[str, str]) -> bool:
    own = (name for name in OWNED_BY_PROXY if name not in stamped)
    return all(by_name.get(n.encode()) == v.encode() for n, v in stamped.items()) and all(
        name.encode() not in by_name for name in own
    )


def _of_names(
    block: FamilyBlock, prefixes: list[bytes], names: set[bytes], *, fits: bool
) -> Verdict:
    told = frozenset(name.decode() for name in names)
    if not told <= sample_names(block.name, block.type):
        return Verdict(Unsound.WRONG_FAMILY)
    try:
        b"\n".join(prefixes).decode()
    except UnicodeDecodeError:
        return Verdict(Unsound.BAD_TEXT)
    return Verdict(None, fits, told)


def _rewritten(prefixes: list[bytes], values: list[bytes], identity: Labels) -> list[bytes]:
    """Render the lines of a sound block anew with the identity; of equal ones the first stays."""
    lines: dict[str, bytes] = {}
    for prefix, value in zip(prefixes, values, strict=True):
        name, labels = _LINE.fullmatch(prefix).groups()  # type: ignore[union-attr]  # judged sound
        pairs = _PAIR.findall(labels or b"")
        own = tuple((n.decode(), _unescaped(v)) for n, v in pairs if v)  # empty is no label
        text = name.decode() + render_labels(with_identity(own, identity))
        lines.setdefault(text, text.encode() + b" " + value + b"\n")
    return list(lines.values())


def _unescaped(value: bytes) -> str:
    text = value.decode()
    return _ESCAPES.sub(_unescape, text) if "\\" in text else text


def _unescape(found: "re.Match[str]") -> str:
    return "\n" if found[1] == "n" else str(found[1])
