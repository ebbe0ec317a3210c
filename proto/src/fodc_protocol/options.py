# SPDX-License-Identifier: Apache-2.0
"""Declared settings of our programs: flags, environment, file, defaults; help and start log.

The one idea: an option is declared once; parsing, precedence, error texts, `--help` and the
redacted list for the log all follow from the declaration.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeVar

from fodc_protocol.addresses import Address
from fodc_protocol.configuration import Source
from fodc_protocol.errors import OptionError
from fodc_protocol.option_values import (
    BadValueError,
    Check,
    Kind,
    Option,
    Value,
    all_of,
    between,
    endpoints,
    not_empty,
    not_negative,
    plain_text,
    ports,
    positive,
    read,
)
from fodc_protocol.redaction import MASK, redact_value

__all__ = [
    "Address",
    "Check",
    "Kind",
    "Option",
    "Resolved",
    "Source",
    "Value",
    "all_of",
    "between",
    "describe",
    "endpoints",
    "not_empty",
    "not_negative",
    "ports",
    "positive",
    "resolve",
    "usage",
    "variable_name",
    "wants_help",
]

T = TypeVar("T")


class Resolved(dict[str, Value]):
    """Values by option name; `origins` says where each came from. Typed access by method."""

    __slots__ = ("options", "origins")

    def __init__(self, options: Iterable[Option]) -> None:
        super().__init__()
        self.options = {option.name: option for option in options}
        self.origins: dict[str, Source] = {}

    def text(self, name: str) -> str:
        """Return a string or enum."""
        return self._as(name, str)

    def flag(self, name: str) -> bool:
        """Return a bool."""
        return self._as(name, bool)

    def integer(self, name: str) -> int:
        """Return an int or a size in bytes."""
        return self._as(name, int)

    def number(self, name: str) -> float:
        """Return a float, a percentage or a duration in seconds."""
        return self._as(name, float)

    def list_of(self, name: str) -> tuple[str, ...]:
        """Return a list."""
        value: tuple[str, ...] = self._as(name, tuple)
        return value

    def address(self, name: str) -> Address | None:
        """Return an address, None when it is empty."""
        return None if self[name] is None else self._as(name, Address)

    def _as(self, name: str, kind: type[T]) -> T:
        value = self[name]
        if not isinstance(value, kind):
            raise TypeError(f"option {name} is a {type(value).__name__}, not a {kind.__name__}")
        return value


# ---- resolving all --------------------------------------------------------------------------


def resolve(
    options: Iterable[Option],
    argv: Sequence[str],
    environ: Mapping[str, str],
    env_prefix: str,
    file_values: Mapping[str, object] | None = None,
) -> Resolved:
    """Return the value of every option: flag, else environment, else file, else default.

    Before the default comes the variable that an option names itself.

    `argv` without the program's name. Variables are `<env_prefix>_<NAME_IN_UPPER_SNAKE>`; an empty
    one counts as unset, unknown ones are left alone (Kubernetes sets such for services). File keys
    are option names, with "-" or "_". Raises OptionError that lists every problem, one a line.
    """
    resolved = Resolved(options)
    problems: list[str] = []
    flags = _read_argv(resolved.options, argv, problems)
    from_file = _read_file(resolved.options, file_values or {}, problems)
    for option in resolved.options.values():
        variable = variable_name(env_prefix, option.name)
        if option.name in flags:
            given = (Source.FLAG, f"--{option.name}", flags[option.name])
        elif environ.get(variable):
            given = (Source.ENVIRONMENT, f"environment variable {variable}", environ[variable])
        elif option.name in from_file:
            given = (Source.FILE, f"{option.name!r} in the file", from_file[option.name])
        elif environ.get(option.variable):
            told = environ[option.variable]
            given = (Source.ENVIRONMENT, f"environment variable {option.variable}", told)
        else:
            given = (Source.DEFAULT, "the default", option.default)
        origin, where, text = given
        resolved.origins[option.name] = origin
        resolved[option.name] = _value_of(option, where, text, problems)
    if problems:
        raise OptionError("\n".join(problems))
    return resolved


def variable_name(env_prefix: str, name: str) -> str:
    """Return the environment variable of an option."""
    return f"{env_prefix}_{name}".upper().replace("-", "_")


def _value_of(option: Option, where: str, text: str, problems: list[str]) -> Value:
    """Read and check one value; a problem is noted with its place and the value unless secret."""
    try:
        value = read(option, text)
        problem = option.check(option.name, value) if option.check else None
    except BadValueError as error:
        value, problem = None, f"{option.name} {error}"
    if problem is not None:
        shown = MASK if option.secret else _without_secrets(text)
        if option.secret and text:
            problem = problem.replace(text, MASK)
        problems.append(f"{problem} ({where} is {shown!r})")
    return value


def _without_secrets(text: str) -> str:
    """Return a value that is no secret as a whole, such as a URL, without the password in it."""
    # Only who makes a mistake pays for it.
    from fodc_protocol.redaction import redact_text  # noqa: PLC0415 - see above

    return redact_text(text).value


def _read_argv(
    options: Mapping[str, Option], argv: Sequence[str], problems: list[str]
) -> dict[str, str]:
    values: dict[str, str] = {}
    waiting = list(reversed(argv))
    while waiting:
        argument = waiting.pop()
        name, separator, text = argument.removeprefix("--").partition("=")
        option = options.get(name) if argument.startswith("--") else None
        if option is None:
            problems.append(_unknown(argument, name, options))
            continue
        if not separator and option.kind is Kind.BOOL:
            text = "true"
        elif not separator:
            if not waiting or _is_known_flag(waiting[-1], options):
                problems.append(f"{name} needs a value: --{name}={option.metavar or option.kind}")
                continue
            text = waiting.pop()
        joins = option.kind is Kind.LIST and name in values
        values[name] = f"{values[name]},{text}" if joins else text
    return values


def _is_known_flag(argument: str, options: Mapping[str, Option]) -> bool:
    return argument.startswith("--") and argument[2:].partition("=")[0] in options


def _unknown(argument: str, name: str, options: Iterable[str]) -> str:
    """Say what is wrong with an argument without repeating its value, and what may be meant."""
    shown = argument.partition("=")[0]
    hint = _nearest(name.lstrip("-"), options)
    if not argument.startswith("-"):
        return (
            f"unexpected argument {_masked_argument(argument)!r}: "
            "settings are given as --name=value, switches as --name or --name=false"
        )
    return f"unknown flag {shown}" + (f"; did you mean --{hint}?" if hint else "; see --help")


def _masked_argument(argument: str) -> str:
    name, separator, value = argument.partition("=")
    shown = redact_value(name, value)
    return f"{name}{separator}{shown.value}"[:80]


def _nearest(name: str, options: Iterable[str]) -> str:
    import difflib  # noqa: PLC0415 - only on the way to an error

    near = difflib.get_close_matches(name.replace("_", "-").lower(), list(options), 1, 0.6)
    return near[0] if near else ""


def _read_file(
    options: Mapping[str, Option], values: Mapping[str, object], problems: list[str]
) -> dict[str, str]:
    texts: dict[str, str] = {}
    for key, value in values.items():
        name = key.replace("_", "-")
        if name not in options:
            hint = _nearest(name, options)
            suffix = f"; did you mean {hint!r}?" if hint else ""
            problems.append(f"unknown key {key!r} in the file{suffix}")
        elif (text := _file_text(value)) is None:
            problems.append(f"{name} in the file must be a plain value or a list of them")
        elif value is not None:
            texts[name] = text
    return texts


def _file_text(value: object) -> str | None:
    """Return the text of a value as parsed from a file, None for nested ones."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str() | int() | float():
            return str(value)
        case list() | tuple():
            items = [_file_text(item) for item in value]
            return None if None in items else ",".join(item for item in items if item)
        case _:
            return None


# ---- showing --------------------------------------------------------------------------------


def describe(resolved: Resolved) -> list[str]:
    """Return "name=value (origin)" of every option for the start log, secrets masked."""
    lines: list[str] = []
    for name, option in resolved.options.items():
        text = _shown(option, resolved[name])
        lines.append(f"{name}={text} ({resolved.origins[name]})")
    return lines


def _shown(option: Option, value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = ",".join(value) if isinstance(value, tuple) else plain_text(value)
    if option.kind is Kind.DURATION:
        text += "s"
    if option.secret:
        return MASK if text else ""
    return redact_value(option.name, text).value if option.kind in _TEXTUAL else text


_TEXTUAL: Final = frozenset({Kind.STRING, Kind.LIST})


def wants_help(argv: Sequence[str]) -> bool:
    """Say whether the arguments ask for help."""
    return any(argument in {"-h", "--help"} for argument in argv)


def usage(
    options: Iterable[Option],
    program: str,
    examples: Iterable[str] = (),
    *,
    about: str = "",
    env_prefix: str = "",
) -> str:
    """Return the text of `--help`: every option with kind, default, variable and meaning."""
    lines = [f"Usage: {program} [--name=value ...]", ""]
    if about:
        lines += [about, ""]
    lines.append("Options:")
    for option in options:
        lines += _usage_of(option, env_prefix)
    shown = [f"  {example}" for example in examples]
    if shown:
        lines += ["", "Examples:", *shown]
    return "\n".join(lines) + "\n"


def _usage_of(option: Option, env_prefix: str) -> list[str]:
    import textwrap  # noqa: PLC0415 - only for --help

    kind = "|".join(option.choices) or option.metavar or option.kind.value
    head = f"  --{option.name}" + ("" if option.kind is Kind.BOOL else f"={kind}")
    notes = [option.help]
    if option.default and not option.secret:
        notes.append(f"Default {option.default}.")
    if env_prefix:
        notes.append(f"[{variable_name(env_prefix, option.name)}]")
    indent = " " * 6
    return [
        head,
        *textwrap.wrap(" ".join(notes), 92, initial_indent=indent, subsequent_indent=indent),
    ]
