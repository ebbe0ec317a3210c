# SPDX-License-Identifier: Apache-2.0
"""Which artifacts have to go, and whether the limits fit where they are kept. No I/O, no clock."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from fodc_protocol.errors import OptionError

GIB: Final = 1024**3
_AUTOMATIC_BYTES: Final = 8 * GIB
_AUTOMATIC_SHARE: Final = 0.8


@dataclass(frozen=True, slots=True)
class Retention:
    """How long artifacts live; whatever is exceeded first ends the oldest ones.

    `max_bytes` of 0 is chosen by the room there is: 80 % of the file system, at most 8 GiB.
    """

    max_age_ms: int = 7 * 24 * 3600 * 1000
    max_bytes: int = 0
    max_count: int = 10_000

    def bytes_within(self, room_bytes: int | None) -> int:
        """Return the limit of bytes where there is so much room, None for a bucket without end.

        Raises OptionError when a limit that was set is more than there is room for.
        """
        if room_bytes is None:
            return self.max_bytes or _AUTOMATIC_BYTES
        if self.max_bytes > room_bytes:
            raise OptionError(
                f"--artifact-retention-bytes is {self.max_bytes}, but the file system of the "
                f"artifact store has {room_bytes} bytes; ask for less, or 0 for 80 % of it"
            )
        return self.max_bytes or min(_AUTOMATIC_BYTES, int(room_bytes * _AUTOMATIC_SHARE))


@dataclass(frozen=True, slots=True)
class Kept:
    """What counts about one artifact."""

    artifact_id: str
    request_id: str
    stored_at_ms: int
    size_bytes: int


def surplus(
    kept: Iterable[Kept],
    retention: Retention,
    *,
    max_bytes: int,
    now_ms: int,
    spared_requests: Collection[str],
    spared: Collection[str] = (),
) -> tuple[str, ...]:
    """Return the ids of the artifacts that go, the oldest first.

    `spared` ones and those of spared requests stay, whatever the limits.
    """
    oldest_first = sorted(kept, key=lambda one: one.stored_at_ms)
    count, size = len(oldest_first), sum(one.size_bytes for one in oldest_first)
    oldest_ms = now_ms - retention.max_age_ms
    gone: list[str] = []
    for one in oldest_first:
        within = count <= retention.max_count and size <= max_bytes
        if within and one.stored_at_ms >= oldest_ms:
            break
        if one.request_id in spared_requests or one.artifact_id in spared:
            continue
        gone.append(one.artifact_id)
        count, size = count - 1, size - one.size_bytes
    return tuple(gone)
