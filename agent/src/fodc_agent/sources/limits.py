# SPDX-License-Identifier: Apache-2.0
"""Which limit is in force where several groups above one another may set one. Pure.

The one idea: unknown is not "none". A group that cannot be read says nothing, and what is said of
the limit then is nothing as well.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from fodc_protocol.lean import dataclass

# v1 writes "no limit" as the highest page-aligned number.
_NO_LIMIT_V1: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit in force: `value` is None for none, `known` is False when nothing could be read.

    `set_by` is the group that sets it, the node's own where none does.
    """

    known: bool
    value: float | None
    set_by: Path


def lowest_limit(directory: Path, root: Path, read: Callable[[Path], float | None]) -> Limit:
    """Return the lowest limit from the group up to the root: a pod's binds its containers.

    `read` gives infinity for "no limit" and None for "cannot be read"; above a group that has no
    such file nothing is looked for.
    """
    own = read(directory)
    lowest, set_by = (math.inf if own is None else own), directory
    for parent in directory.parents:
        above = read(parent) if root in (parent, *parent.parents) else None
        if above is None:
            break
        if above < lowest:
            lowest, set_by = above, parent
    known = own is not None or lowest < math.inf
    return Limit(known, lowest if lowest < math.inf else None, set_by)


def limit_v1(own: int | None, stat: Mapping[str, int], directory: Path) -> Limit:
    """Return the limit in force.

    That of the groups above is a line of memory.stat and no file of its own (W-57).
    """
    told = [own, stat.get("hierarchical_memory_limit")]
    known = [limit for limit in told if limit is not None and limit > 0]
    lowest = min(known, default=_NO_LIMIT_V1)
    return Limit(bool(known), None if lowest >= _NO_LIMIT_V1 else lowest, directory)
