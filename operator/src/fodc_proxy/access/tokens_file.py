# SPDX-License-Identifier: Apache-2.0
"""People by their tokens in a file."""

from fodc_proxy.access.answers import Denied
from fodc_proxy.access.callers import Caller, Identified
from fodc_proxy.access.kept_file import LOOK_EVERY_S, KeptFile
from fodc_proxy.access.tokens import OPTION, callers_by_digest


class TokensFile:
    """Callers by their tokens; raises OptionError when the file cannot be used at first."""

    def __init__(self, path: str, *, look_every_s: float = LOOK_EVERY_S) -> None:
        self._file: KeptFile[Caller] = KeptFile(
            OPTION, path, callers_by_digest, look_every_s=look_every_s
        )

    def __str__(self) -> str:
        """Say who may ask, for people."""
        return f"{len(self._file)} in --{OPTION}"

    @property
    def fault(self) -> str:
        """Why the file as it is now is not in force, empty when it is."""
        return self._file.fault

    async def caller_of(self, token: str, peer: str = "") -> Identified:  # noqa: ARG002 - a port
        """Say whose token this is."""
        return await self._file.look(token) or Denied(f"it is not in the file of --{OPTION}")
