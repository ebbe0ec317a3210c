# SPDX-License-Identifier: Apache-2.0
"""What the node was told: its arguments and environment, redacted, with an epoch for changes.

The one idea: arguments come from the running process itself through its pprof port and need no
permission; the rest needs /proc of the node. A part that cannot be seen this time keeps its last
known value and says so, so that a busy node does not look like a changed one.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from fodc_agent.lanes import Lane
from fodc_agent.scraping.client import HttpClient
from fodc_agent.scraping.faults import FetchError
from fodc_agent.sources.candidates import ROLE_WORDS
from fodc_agent.sources.node_process import NodeProcess
from fodc_agent.sources.procfs import parse_environ, split_nul
from fodc_agent.sources.readings import Gap, gap_of, read_small
from fodc_protocol.configuration import ConfigEntry, configuration_of
from fodc_protocol.lean import dataclass
from fodc_protocol.link.frames import Condition

_CMDLINE_BYTES: Final = 1 << 20
_CMDLINE_S: Final = 5.0
_FILE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class ConfigurationReading:
    """The node's settings; the epoch is 0 while nothing is known.

    `collected_at_ms` is when the oldest part of it was read.
    """

    epoch: int
    hash: str
    collected_at_ms: int
    command: tuple[str, ...]
    entries: tuple[ConfigEntry, ...]
    conditions: tuple[Condition, ...]

    @property
    def role_word(self) -> str:
        """The subcommand that tells the node's role: data, liaison, standalone, or ""."""
        return next((word for word in self.command if word in ROLE_WORDS), "")

    def value_of(self, name: str) -> str:
        """Return the shown value of one setting, "" when it is masked or not set."""
        shown = (one.value for one in self.entries if one.name == name and not one.redacted)
        return next(shown, "")


class ConfigurationSource:
    """Reads arguments by pprof, else from /proc, and the environment from /proc."""

    name: Final = "configuration"
    ttl_s: Final = 5.0
    timeout_s: Final = _CMDLINE_S + 5.0

    def __init__(self, client: HttpClient, pprof_url: str, node: NodeProcess | Gap) -> None:
        """Take the base of the pprof port, such as http://127.0.0.1:6060, "" for none.

        `node` is a gap where the node's process is on another machine.
        """
        self._client = client
        self._pprof_url = pprof_url.rstrip("/")
        self._node = node
        self._argv: Sequence[str] = ()
        self._environ: Mapping[str, str] = {}
        # Files of one process may hang one by one: each has its own lane.
        self._cmdline = Lane("cmdline", timeout_s=_FILE_S)
        self._environment = Lane("environ", timeout_s=_FILE_S)
        self._masking = Lane("masking")
        self._argv_at_ms = self._environ_at_ms = 0
        self._epoch = 0
        self._hash = ""

    async def collect(self, at_ms: int) -> ConfigurationReading:
        """Return the settings as far as they can be seen, secrets masked."""
        conditions: list[Condition] = []
        directory = await self._directory()
        if await self._read_argv(directory, conditions):
            self._argv_at_ms = at_ms
        if await self._read_environ(directory, conditions):
            self._environ_at_ms = at_ms
        if not self._argv:
            return ConfigurationReading(0, "", at_ms, (), (), tuple(conditions))
        read_at_ms = min(self._argv_at_ms, self._environ_at_ms or at_ms)
        told = await self._masking.run(partial(configuration_of, self._argv, self._environ))
        if told.hash != self._hash:
            self._hash = told.hash
            self._epoch += 1
        return ConfigurationReading(
            self._epoch, self._hash, read_at_ms, told.command, told.entries, tuple(conditions)
        )

    async def _directory(self) -> Path | Gap:
        if isinstance(self._node, Gap):
            return self._node
        process = await self._node.find()
        return process if isinstance(process, Gap) else self._node.directory(process)

    async def _read_argv(self, directory: Path | Gap, conditions: list[Condition]) -> bool:
        """Ask the process itself first: that works without a shared process namespace."""
        tried: list[str] = []
        argv = await self._argv_by_pprof(tried) or await self._argv_of(directory, tried)
        if argv:
            self._argv = argv
            return True
        state = "the last known ones are shown" if self._argv else "none are known"
        message = f"arguments cannot be read, {state}: {'; '.join(tried)}"
        conditions.append(Condition("Arguments", "Unreadable", message))
        return False

    async def _argv_by_pprof(self, tried: list[str]) -> list[str]:
        if not self._pprof_url:
            tried.append("no pprof port is configured")
            return []
        try:
            answer = await self._client.get(
                f"{self._pprof_url}/debug/pprof/cmdline",
                timeout_s=_CMDLINE_S,
                max_bytes=_CMDLINE_BYTES,
            )
        except FetchError as failure:
            tried.append(failure.message)
            return []
        return split_nul(answer.body.decode("utf-8", "replace"))

    async def _argv_of(self, directory: Path | Gap, tried: list[str]) -> list[str]:
        if isinstance(directory, Gap):
            tried.append(directory.message)
            return []
        path = directory / "cmdline"
        try:
            argv = split_nul(await self._cmdline.run(partial(read_small, path)))
        except OSError as error:
            tried.append(gap_of("cmdline", path, error).message)
            return []
        if not argv:
            tried.append(f"{path} is empty")
        return argv

    async def _read_environ(self, directory: Path | Gap, conditions: list[Condition]) -> bool:
        if isinstance(directory, Gap):
            gap = directory
        else:
            path = directory / "environ"
            try:
                text = await self._environment.run(partial(read_small, path))
            except OSError as error:
                gap = gap_of("environ", path, error)
            else:
                self._environ = parse_environ(text)
                return True
        state = "the last known one is shown" if self._environ else "settings by BYDB_* are missing"
        message = f"the environment cannot be read, {state}: {gap.message}"
        conditions.append(Condition("Environment", gap.reason, message))
        return False
