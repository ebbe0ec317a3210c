# SPDX-License-Identifier: Apache-2.0
"""What describes a captured result, and how its bytes are put together again.

The one idea: a result is complete only when size and SHA-256 agree with the manifest; until then
each side knows the offset at which to resume. Pure: writing the accepted bytes is the caller's.
"""

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Final, TypeAlias

from fodc_protocol.errors import ArtifactError, Reason
from fodc_protocol.lean import dataclass

_SHA256: Final = re.compile(r"[0-9a-f]{64}")

Json: TypeAlias = str | int | bool | list[str] | None


# ---- manifest -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known about one result; stored beside it and shown to people.

    Times are Unix milliseconds. `samples` is None where counting makes no sense (a trace, a
    configuration). `empty` marks a result without a single sample: never a silent success.
    """

    artifact_id: str
    request_id: str
    command_id: str
    node: str
    pod: str
    role: str
    profile: str
    format: str
    size_bytes: int
    sha256: str
    samples: int | None
    started_at_ms: int
    finished_at_ms: int
    duration_ms: int
    empty: bool = False
    truncated: bool = False
    warnings: tuple[str, ...] = ()
    agent_version: str = ""
    incarnation: str = ""
    namespace: str = ""

    def to_dict(self) -> dict[str, Json]:
        """Return a JSON-able dictionary with the fields' own names."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        return {**plain, "warnings": list(self.warnings)}

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> "Manifest":
        """Read what `to_dict` wrote.

        Raises ArtifactError (BadRequest) that names the field for a missing, unknown or wrongly
        typed one, a negative number or a malformed checksum.
        """
        unknown = sorted(set(data) - _FIELDS)
        if unknown:
            raise _bad(f"unknown field {unknown[0]!r}")
        missing = sorted(_REQUIRED - set(data))
        if missing:
            raise _bad(f"field {missing[0]!r} is missing")
        values = {name: _field(name, value) for name, value in data.items()}
        return cls(**values)  # type: ignore[arg-type]  # kinds were checked field by field


_NUMBERS: Final = frozenset(
    {"size_bytes", "samples", "started_at_ms", "finished_at_ms", "duration_ms"}
)
_FLAGS: Final = frozenset({"empty", "truncated"})
_FIELDS: Final = frozenset(item.name for item in fields(Manifest))
_REQUIRED: Final = frozenset(item.name for item in fields(Manifest) if item.default is MISSING)


def _bad(what: str) -> ArtifactError:
    return ArtifactError(f"manifest: {what}", reason=Reason.BAD_REQUEST)


def _field(name: str, value: object) -> object:
    if name == "warnings":
        return _texts(name, value)
    if value is None and name == "samples":
        return None
    kind = int if name in _NUMBERS else bool if name in _FLAGS else str
    if type(value) is not kind:
        raise _bad(f"field {name!r} must be of type {kind.__name__}, got {_shown(value)}")
    if isinstance(value, int) and value < 0:
        raise _bad(f"field {name!r} must not be negative, got {value}")
    if name == "sha256" and not (isinstance(value, str) and _SHA256.fullmatch(value)):
        raise _bad(f"field 'sha256' must be 64 lower-case hex digits, got {_shown(value)}")
    return value


def _shown(value: object) -> str:
    return repr(value)[:80]


def _texts(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise _bad(f"field {name!r} must be a list of texts, got {_shown(value)}")
    return tuple(value)
