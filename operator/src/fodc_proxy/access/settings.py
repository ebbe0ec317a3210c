# SPDX-License-Identifier: Apache-2.0
"""Settings of access: who may ask over HTTP."""

from dataclasses import dataclass
from typing import Final

from fodc_protocol.errors import OptionError
from fodc_protocol.options import Kind, Option, Resolved
from fodc_proxy.access.door import INSECURE_OPTION
from fodc_proxy.access.tokens import OPTION as TOKENS_OPTION

OPTIONS: Final = (
    Option(
        TOKENS_OPTION,
        Kind.STRING,
        "",
        "Who may ask over HTTP: a line `name role token` per caller, with the role scraper, "
        "viewer, profiler or admin. Without this and other sources only this machine may.",
        "FILE",
    ),
    Option(
        INSECURE_OPTION,
        Kind.BOOL,
        "false",
        "Let everybody who reaches the HTTP port do everything.",
    ),
)


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """Who may ask over HTTP."""

    tokens_file: str = ""
    is_insecure: bool = False


def access_of(values: Resolved) -> AccessSettings:
    """Return the settings; raises OptionError when values do not fit each other."""
    settings = AccessSettings(values.text(TOKENS_OPTION), values.flag(INSECURE_OPTION))
    if settings.is_insecure and settings.tokens_file:
        raise OptionError(f"--{INSECURE_OPTION} and --{TOKENS_OPTION} exclude each other")
    return settings
