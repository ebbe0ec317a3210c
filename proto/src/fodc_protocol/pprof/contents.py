# SPDX-License-Identifier: Apache-2.0
"""The fields of a profile to what they mean, and whether they fit together.

The one idea: what `go tool pprof` refuses to open is refused here too, so that nothing is called a
success that nobody can read. Only what was asked for is kept: to count needs little memory.
"""

from collections.abc import Iterator
from dataclasses import field
from typing import Final, TypeAlias

from fodc_protocol.errors import CorruptProfileError, ProfileTooLargeError
from fodc_protocol.lean import dataclass
from fodc_protocol.pprof.reading import GZIP_MAGIC, Budget, start_of, top_fields
from fodc_protocol.protobuf import CutError, WireError, read_field, signed, unpacked

MAX_PLAIN_BYTES: Final = 64 << 20
"""How much a profile may unpack to; a CPU profile of two minutes has about 2 MiB."""
MAX_FIELDS: Final = 2_000_000
"""How many fields and numbers are looked into; a heap profile of a large node has about 100,000."""
_MESSAGE_COST: Final = 4
"""What a message costs beside its fields: as much time as so many of them take."""
_MAX_PLACES: Final = 200_000
_MAX_COUNTED_TEXT_BYTES: Final = 1 << 20

Line: TypeAlias = int
"""The function of one line of a location."""


@dataclass(frozen=True, slots=True)
class ValueType:
    """What one column of values means, such as ("cpu", "nanoseconds")."""

    kind: str
    unit: str


@dataclass(slots=True)
class _Named:
    """Things of one kind with an id: which there are and which are spoken of."""

    what: str
    there: set[int] = field(default_factory=set)
    used: set[int] = field(default_factory=set)

    def add(self, identity: int) -> None:
        if identity == 0 or identity in self.there:
            problem = "the reserved id 0" if identity == 0 else f"a second one of id {identity}"
            raise CorruptProfileError(f"profile has a {self.what} with {problem}")
        self.there.add(identity)
        _bounded(self.what, self.there)

    def use(self, identities: list[int]) -> None:
        self.used.update(identities)
        _bounded(self.what, self.used)

    def check(self) -> None:
        if missing := self.used - self.there:
            raise CorruptProfileError(f"profile lacks {self.what} {min(missing)}")


def _bounded(what: str, identities: set[int]) -> None:
    if len(identities) > _MAX_PLACES:
        raise ProfileTooLargeError(f"profile has more than {_MAX_PLACES} {what}s")


@dataclass(slots=True)
class Contents:
    """Collects what is asked for while the fields go by (numbers as in profile.proto)."""

    keep_stacks: bool
    budget: Budget = field(default_factory=lambda: Budget(MAX_FIELDS))
    samples: int = 0
    nonzero_samples: int = 0
    types: list[tuple[int, int]] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)
    strings: list[bytes] = field(default_factory=list)
    stacks: list[tuple[list[int], list[int]]] = field(default_factory=list)
    locations: dict[int, tuple[list[Line], int]] = field(default_factory=dict)
    functions: dict[int, tuple[int, int]] = field(default_factory=dict)
    _value_counts: tuple[int, int] = (0, 0)
    _last_text: int = 0
    _text_bytes: int = 0
    _mapping_ids: _Named = field(default_factory=lambda: _Named("mapping"))
    _location_ids: _Named = field(default_factory=lambda: _Named("location"))
    _function_ids: _Named = field(default_factory=lambda: _Named("function"))

    def read(self, data: bytes, max_bytes: int) -> None:
        """Take in a whole profile; raises CorruptProfileError, ProfileTooLargeError."""
        if not data:
            raise CorruptProfileError("no profile: no bytes at all")
        if len(data) > max_bytes:
            raise ProfileTooLargeError(f"profile has more than the {max_bytes} bytes allowed")
        try:
            for number, value in top_fields(data, max_bytes, self.budget):
                self._take(number, value)
        except CutError as error:
            raise CorruptProfileError("profile has a message that ends too early") from error
        except WireError as error:
            raise CorruptProfileError(f"profile is broken: {error}") from error
        except ProfileTooLargeError:
            raise
        except CorruptProfileError as error:
            if self.types or data[:2] == GZIP_MAGIC:
                raise
            raise CorruptProfileError(f"no profile: {start_of(data)}") from error
        self._check()

    # ---- one field ----------------------------------------------------------------------

    def _take(self, number: int, value: int | bytes) -> None:
        match number:
            case 1:
                kind, unit = self._integers(value, 1, 2)
                self.types.append((kind, unit))
                self._refer(kind, unit)
            case 2:
                self._take_sample(_as_bytes(value))
            case 3:
                self._take_mapping(value)
            case 4:
                self._take_location(_as_bytes(value))
            case 5:
                self._take_function(value)
            case 6:
                self._take_text(_as_bytes(value))
            case 11:
                self._refer(*self._integers(value, 1, 2))
            case 13:
                self._refer(*self._many(value))
            case 7 | 8 | 9 | 10 | 12 | 14 | 15:
                self._take_number(number, _as_int(value))
            case _:
                pass

    def _take_number(self, number: int, value: int) -> None:
        if number == 9 and self.numbers.get(9):
            raise CorruptProfileError("these are several profiles, one behind the other")
        self.numbers[number] = signed(value)
        if number in {7, 8, 14, 15}:
            self._refer(value)

    def _take_text(self, text: bytes) -> None:
        if text and not self.strings:
            raise CorruptProfileError("the first text of the profile is not empty")
        # Who only counts needs the names of the columns, which every writer puts first.
        self._text_bytes += len(text)
        is_kept = self.keep_stacks or self._text_bytes <= _MAX_COUNTED_TEXT_BYTES
        self.strings.append(text if is_kept else b"")

    def _take_sample(self, message: bytes) -> None:
        places: list[int] = []
        values: list[int] = []
        for number, value in self._fields(message):
            if number == 1:
                places += self._many(value)
            elif number == 2:
                values += self._many(value)
            elif number == 3:
                key, text, _, unit = self._integers(value, 1, 2, 3, 4)
                self._refer(key, text, unit)
        least, most = self._value_counts if self.samples else (len(values), len(values))
        self._value_counts = (min(least, len(values)), max(most, len(values)))
        self._location_ids.use(places)
        self.samples += 1
        if any(values):
            self.nonzero_samples += 1
            if self.keep_stacks:
                self.stacks.append((places, [signed(value) for value in values]))

    def _take_mapping(self, value: int | bytes) -> None:
        identity, file, build = self._integers(value, 1, 5, 6)
        self._mapping_ids.add(identity)
        self._refer(file, build)

    def _take_location(self, message: bytes) -> None:
        identity = address = 0
        functions: list[Line] = []
        for number, value in self._fields(message):
            if number == 1:
                identity = _as_int(value)
            elif number == 3:
                address = _as_int(value)
            elif number == 4:
                functions += self._integers(value, 1)
        self._location_ids.add(identity)
        self._function_ids.use(functions)
        if self.keep_stacks:
            self.locations[identity] = (functions, address)

    def _take_function(self, value: int | bytes) -> None:
        identity, name, system_name, file = self._integers(value, 1, 2, 3, 4)
        self._function_ids.add(identity)
        self._refer(name, system_name, file)
        if self.keep_stacks:
            self.functions[identity] = (name, file)

    def _refer(self, *texts: int) -> None:
        self._last_text = max(self._last_text, *texts, 0)

    # ---- inside a message ---------------------------------------------------------------

    def _fields(self, message: bytes) -> Iterator[tuple[int, int | bytes]]:
        self.budget.spend(_MESSAGE_COST)
        at = 0
        while at < len(message):
            number, value, at = read_field(message, at)
            self.budget.spend(1)
            yield number, value

    def _integers(self, value: int | bytes, *wanted: int) -> list[int]:
        """Return single numbers of a message, 0 where they are absent; the last one counts."""
        found = dict.fromkeys(wanted, 0)
        for number, inner in self._fields(_as_bytes(value)):
            if number in found:
                found[number] = _as_int(inner)
        return list(found.values())

    def _many(self, value: int | bytes) -> list[int]:
        """Return a repeated number, packed or single."""
        if isinstance(value, int):
            return [value]
        numbers = unpacked(value)
        self.budget.spend(len(numbers))
        return numbers

    # ---- the whole ----------------------------------------------------------------------

    def _check(self) -> None:
        """Refuse what `go tool pprof` refuses; raises CorruptProfileError."""
        if not self.types:
            raise CorruptProfileError("no profile: it names no sample type")
        least, most = self._value_counts
        if self.samples and not least == most == len(self.types):
            odd = least if least != len(self.types) else most
            raise CorruptProfileError(
                f"profile has a sample with {odd} values for {len(self.types)} types"
            )
        if self._last_text >= len(self.strings):
            raise CorruptProfileError(
                f"profile refers to text {self._last_text} of {len(self.strings)}: it is incomplete"
            )
        self._location_ids.check()
        self._function_ids.check()

    def text(self, index: int) -> str:
        """Return a text of the table; every index was checked."""
        return self.strings[index].decode("utf-8", "replace")

    def value_types(self) -> tuple[ValueType, ...]:
        """Return what the columns mean."""
        return tuple(ValueType(self.text(kind), self.text(unit)) for kind, unit in self.types)


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise CorruptProfileError("profile has a number where a message belongs")
    return value


def _as_int(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise CorruptProfileError("profile has bytes where a number belongs")
    return value
