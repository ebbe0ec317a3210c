# SPDX-License-Identifier: Apache-2.0
"""Settings of access: who may ask over HTTP."""

from dataclasses import dataclass
from typing import Final

from fodc_protocol.errors import OptionError
from fodc_protocol.options import Kind, Option, Resolved, not_empty
from fodc_proxy.access.audit_log import NONE
from fodc_proxy.access.audit_log import OPTION as AUDIT_OPTION
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
    Option(
        AUDIT_OPTION,
        Kind.STRING,
        "stdout",
        "Where a line of JSON goes for each change and each artifact that is read: a file, stdout, "
        "stderr or none.",
        "FILE",
        check=not_empty,
    ),
)


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """Who may ask over HTTP."""

    tokens_file: str = ""
    is_insecure: bool = False
    audit_log: str = NONE


def access_of(values: Resolved) -> AccessSettings:
    """Return the settings; raises OptionError when values do not fit each other."""
    settings = AccessSettings(
        values.text(TOKENS_OPTION), values.flag(INSECURE_OPTION), values.text(AUDIT_OPTION)
    )
    if settings.is_insecure and settings.tokens_file:
        raise OptionError(f"--{INSECURE_OPTION} and --{TOKENS_OPTION} exclude each other")
    return settings
