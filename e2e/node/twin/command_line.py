# SPDX-License-Identifier: Apache-2.0
"""The command line of the node, the same for both variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ROLES = ("data", "liaison", "standalone")
# The beginnings of BanyanDB's own flags: accepted without effect, so that the command line can
# look like that of a real installation.
BANYAND_PREFIXES = (
    "access-log", "auth", "cert-file", "data-", "dst-", "enable-", "etcd-", "grpc-", "host",
    "http-", "key-file", "liaison-", "logging-", "max-", "measure-", "metadata-", "namespace",
    "node-", "observability-", "property-", "schema-", "slow-", "stream-", "tls", "trace-",
)  # fmt: skip


class OptionError(Exception):
    """The command line is wrong; the text names the flag."""


@dataclass(slots=True)
class Options:
    """The parts of the command line that the node acts on."""

    role: str = "data"
    metrics_address: str = "127.0.0.1:2121"
    pprof_address: str = "127.0.0.1:6060"
    load: int = 0
    series: int = 0
    page_only: bool = False
    at: float = 0.0


def parse_options(arguments: Sequence[str]) -> Options:
    """Return the options of a command line without its program name.

    Raises OptionError for a flag, value or word that has no meaning.
    """
    options = Options()
    rest = list(arguments)
    if rest and not rest[0].startswith("--"):
        word = rest.pop(0)
        options.page_only = word == "page"
        options.role = options.role if options.page_only else word
    while rest:
        take_flag(options, rest)
    if options.role not in ROLES:
        raise OptionError(f"--role: {options.role!r} is not one of {', '.join(ROLES)}")
    return options


def take_flag(options: Options, rest: list[str]) -> None:
    """Take one flag and its value from the front of the arguments."""
    text = rest.pop(0)
    if not text.startswith("--"):
        raise OptionError(f"{text!r}: only the first word may be without dashes")
    name, joined, value = text[2:].partition("=")
    if not joined and rest and not rest[0].startswith("--"):
        value = rest.pop(0)
    set_flag(options, name, value)


def set_flag(options: Options, name: str, value: str) -> None:
    match name:
        case "role":
            options.role = value
        case "observability-listener-addr":
            options.metrics_address = value
        case "pprof-listener-addr":
            options.pprof_address = value
        case "load" | "series":
            setattr(options, name, whole_number(name, value))
        case "mutex-rate" | "block-rate":
            whole_number(name, value)  # Python measures neither; the profiles stay empty.
        case "at":
            options.at = float(value)
        case _ if not name.startswith(BANYAND_PREFIXES):
            raise OptionError(f"--{name}: neither a flag of the sample node nor one of BanyanDB")


def whole_number(name: str, value: str) -> int:
    if not value.isascii() or not value.isdigit():
        raise OptionError(f"--{name}: {value!r} is not a whole number of at least 0")
    return int(value)
