# SPDX-License-Identifier: Apache-2.0
"""Words of the command line: global options, kinds of values, and how a verb is added; pure.

The one idea: global options may stand before or after the verb. Their defaults are not set by
argparse (it would let the second place overwrite the first) but filled in by `settings_of`.
"""

import argparse
import re
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn, TypeAlias

from fodc_client import completing
from fodc_client.addresses import normal_url
from fodc_client.errors import BadUsageError, ExitCode
from fodc_client.output import Format, Output
from fodc_client.suggestions import did_you_mean
from fodc_protocol.errors import BadRequestError
from fodc_protocol.times import parse_duration_s

DEFAULT_PROXY: Final = "http://127.0.0.1:17913"
DEFAULT_SERVICE: Final = "fodc-system/https:fodc-proxy-http"
DEFAULT_TIMEOUT_S: Final = 30.0

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

    Subparsers: TypeAlias = argparse._SubParsersAction["Parser"]  # noqa: SLF001 - no public name


class Settings(NamedTuple):
    """What every command knows; `timeout_s` is None when nobody said how long to wait.

    A named tuple, because `dataclasses` alone would cost a fifth of the time that `--help` takes.
    """

    proxy_url: str
    format: Format
    no_color: bool
    timeout_s: float | None
    token_file: str = ""
    token: str = ""
    context: str | None = None
    kubeconfig: str = ""
    service: str = DEFAULT_SERVICE
    ca_file: str = ""

    @property
    def answer_timeout_s(self) -> float:
        """Longest wait for one answer of the proxy."""
        return DEFAULT_TIMEOUT_S if self.timeout_s is None else self.timeout_s


Ending: TypeAlias = ExitCode | Coroutine[None, None, ExitCode]
Run: TypeAlias = Callable[[argparse.Namespace, Settings, Output], Ending]


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are errors of ours, with the way to the help."""

    def error(self, message: str) -> NoReturn:
        """Raise BadUsageError instead of ending the process."""
        raise BadUsageError(f"{message}\nSee `{self.prog} --help`.")

    def print_help(self, file: "SupportsWrite[str] | None" = None) -> None:
        """Write the help; unlike argparse's own, a failed write is an OSError."""
        (file or sys.stdout).write(self.format_help())

    def not_understood(self, words: Sequence[str]) -> NoReturn:
        """Raise BadUsageError about words that nothing takes."""
        option = words[0].partition("=")[0]
        if option.startswith("-"):
            hint = did_you_mean(option, self._option_string_actions)
            self.error(f"{option} is no option here. {hint}".rstrip())
        self.error(f"nothing takes {' '.join(words)!r} here; names stand together, before options")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        name = "/".join(action.option_strings) or str(action.metavar or action.dest)
        hint = did_you_mean(str(value), known) or f"There are: {', '.join(known)}"
        self.error(f"{name} {str(value)!r} is unknown. {hint}")


def global_options() -> Parser:
    """Return the options that each verb and the program itself take."""
    options = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    group = options.add_argument_group("global options")
    group.add_argument(
        "--proxy",
        metavar="URL",
        type=_proxy,
        help=f"where fodc-proxy listens for HTTP (default: $FODC_PROXY, else {DEFAULT_PROXY})",
    )
    group.add_argument(
        "--context",
        metavar="NAME",
        help="reach the proxy of a cluster through its API server, by this context of the "
        "kubeconfig; --context= is the current one, as for `kubectl fodc`",
    )
    group.add_argument(
        "--kubeconfig", metavar="FILE", help="with --context: the kubeconfig (default: kubectl's)"
    )
    group.add_argument(
        "--service",
        metavar="NAMESPACE/NAME",
        type=_service,
        help=f"with --context: the proxy's Service (default: {DEFAULT_SERVICE}); "
        "NAMESPACE/NAME where its port is in the clear",
    )
    group.add_argument(
        "--ca-file",
        metavar="FILE",
        help="certificates by which a proxy with https is known (default: those of the system)",
    )
    group.add_argument(
        "--token-file",
        metavar="FILE",
        help="file with the token by which the proxy knows you (default: the token in $FODC_TOKEN)",
    )
    group.add_argument(
        "-o",
        dest="format",
        metavar="FORMAT",
        type=word_of(Format),
        choices=tuple(Format),
        help="table, wide, json or yaml (default: table); wide is a table with more columns",
    )
    group.add_argument("--no-color", action="store_true", help="no colors; the same as NO_COLOR=1")
    group.add_argument(
        "--timeout",
        metavar="TIME",
        type=duration,
        help=f"longest wait for an answer, such as 10s or 2m (default: {DEFAULT_TIMEOUT_S:g}s); "
        "for capture: longest time of the whole capture (default: 15m)",
    )
    return options


def add_verb(
    verbs: "Subparsers", name: str, *, summary: str, examples: str, run: Run | None = None
) -> Parser:
    """Add a verb (or a group of verbs when `run` is None) and return its parser."""
    parser = verbs.add_parser(
        name,
        help=summary,
        description=summary[:1].upper() + summary[1:] + ".",
        epilog=f"examples:\n{_indented(examples)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[global_options()],
        allow_abbrev=False,
    )
    parser.set_defaults(run=run or helping(parser), parser=parser)
    return parser


def helping(parser: Parser) -> Run:
    """Return what a word does that only stands before others: it shows which."""

    def run(_args: argparse.Namespace, _settings: Settings, _output: Output) -> ExitCode:
        parser.print_help()
        return ExitCode.OK

    return run


def add_directory(parser: "argparse._ActionsContainer") -> None:
    """Add `--output-dir`."""
    option = parser.add_argument(
        "--output-dir", type=Path, default=Path(), metavar="DIR", help="where files go (default: .)"
    )
    completed(option, completing.directories)


def completed(action: argparse.Action, completer: completing.Completer) -> None:
    """Say who knows the words that may stand here, for shells that complete."""
    action.completer = completer  # type: ignore[attr-defined]  # where argcomplete looks


def _indented(text: str) -> str:
    return "\n".join(f"  {line.strip()}" for line in text.strip().splitlines())


def settings_of(args: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """Return the global settings: arguments first, then the environment, then defaults.

    Raises BadUsageError for a FODC_PROXY that is no URL.
    """
    proxy: str | None = getattr(args, "proxy", None)
    context: str | None = getattr(args, "context", None)
    kubeconfig: str = getattr(args, "kubeconfig", "")
    if context is None and kubeconfig:
        context = ""
    if proxy is not None:
        if context:
            raise BadUsageError("--proxy and --context exclude each other")
        context = None
    if proxy is None:
        proxy = _proxy_of_environment(environment)
    return Settings(
        proxy_url=proxy,
        format=getattr(args, "format", Format.TABLE),
        no_color=getattr(args, "no_color", False),
        timeout_s=getattr(args, "timeout", None),
        token_file=getattr(args, "token_file", ""),
        token=environment.get("FODC_TOKEN", ""),
        context=context,
        kubeconfig=kubeconfig,
        service=getattr(args, "service", DEFAULT_SERVICE),
        ca_file=getattr(args, "ca_file", ""),
    )


def _proxy_of_environment(environment: Mapping[str, str]) -> str:
    try:
        return normal_url(environment.get("FODC_PROXY") or DEFAULT_PROXY)
    except BadUsageError as error:
        raise BadUsageError(str(error).replace("--proxy", "FODC_PROXY", 1)) from None


# ---- kinds of values ------------------------------------------------------------------------


def duration(text: str) -> float:
    """Return seconds of `30`, `30s`, `1m30s`; for argparse."""
    try:
        seconds = (
            float(text) if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII) else parse_duration_s(text)
        )
    except BadRequestError:
        seconds = 0.0
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; expected something like 30s or 5m")
    return seconds


def count(text: str) -> int:
    """Return a whole number from 0 on; for argparse."""
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 on")
    return int(text)


def pair(text: str) -> tuple[str, str]:
    """Return name and value of `name=value`; for argparse."""
    name, sign, value = text.partition("=")
    if not name or not sign:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form name=value")
    return name, value


def word_of(words: type[StrEnum]) -> Callable[[str], str]:
    """Return a reader of one of these words in any case; for argparse, with `choices`."""

    def word(text: str) -> str:
        return next((each for each in words if each.lower() == text.lower()), text)

    return word


def comma_list(text: str) -> list[str]:
    """Return the words of `a,b`; for argparse."""
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise argparse.ArgumentTypeError(f"{text!r} is no list such as a,b")
    return words


def positive(text: str) -> int:
    """Return a whole number from 1 on; for argparse."""
    if not count(text):
        raise argparse.ArgumentTypeError("must be at least 1")
    return int(text)


def _service(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]{1,63}/(https:)?[a-z0-9-]{1,63}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no NAMESPACE/NAME")
    return text


def _proxy(text: str) -> str:
    try:
        return normal_url(text)
    except BadUsageError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("--proxy ")) from None
