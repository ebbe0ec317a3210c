# SPDX-License-Identifier: Apache-2.0
"""How much memory recorded metrics may take (upstream-agent §3.3).

The one idea: the share of the container's limit that people know from the Go agent, but capped,
because this agent is meant to stay at about 30 MiB unless somebody asks for more. One agent of many
nodes has a window for each, so its share is not capped.
"""

from pathlib import Path
from typing import Final

from fodc_agent.settings import Settings

MIB: Final = 1024 * 1024
CAP_BYTES: Final = 8 * MIB
FALLBACK_BYTES: Final = 100 * MIB
ASSUMED_LIMIT_BYTES: Final = 1024 * MIB
_UNLIMITED_BYTES: Final = 1 << 60


def window_bytes(settings: Settings) -> int:
    """Return the memory for recorded metrics: what was told, else a share of the limit.

    Reads the cgroup, so it is called before there is an event loop.
    """
    return settings.window_budget_bytes or window_budget_bytes(
        settings.metrics_memory_percent,
        memory_limit_bytes(),
        is_capped=not (settings.metrics_memory_percent_given or settings.is_remote),
    )


def window_budget_bytes(percent: int, limit_bytes: int | None, *, is_capped: bool) -> int:
    """Return the budget: `limit_bytes` is None when it cannot be read, 0 when there is none."""
    if limit_bytes is None:
        limit_bytes = ASSUMED_LIMIT_BYTES
    share = limit_bytes * percent // 100 if limit_bytes > 0 else FALLBACK_BYTES
    return max(min(share, CAP_BYTES) if is_capped else share, MIB)


def memory_limit_bytes(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return the limit of this process's own cgroup, 0 for none, None when it cannot be read.

    In a container the own cgroup is mounted at the root, for both versions.
    """
    try:
        if (text := _text(root / "memory.max")) is not None:
            return 0 if text == "max" else int(text)
        if (text := _text(root / "memory" / "memory.stat")) is not None:
            return _hierarchical(text)
    except ValueError:
        return None
    return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return None


def _hierarchical(statistics: str) -> int | None:
    """Return the limit from memory.stat, where version 1 keeps it (W-57)."""
    for line in statistics.splitlines():
        name, _, value = line.partition(" ")
        if name == "hierarchical_memory_limit":
            limit = int(value)
            return 0 if limit >= _UNLIMITED_BYTES else limit
    return None
