# SPDX-License-Identifier: Apache-2.0
"""Completion scripts for bash, zsh and fish, made from the parser's own tree; pure.

The one idea: the parser is turned into a list of words per command path, and each script is that
list with a few lines of the shell's own language around it. Nothing is asked of the proxy.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Shell(StrEnum):
    """Shells that can be served."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@dataclass(frozen=True, slots=True)
class Word:
    """A word that may come next, with what it means."""

    text: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Place:
    """What may follow a path of verbs such as ("artifacts", "get")."""

    path: tuple[str, ...]
    words: tuple[Word, ...]
    options: tuple[Word, ...]


def places_of(parser: argparse.ArgumentParser) -> tuple[Place, ...]:
    """Return what may follow each path of verbs, the empty path first."""
    return tuple(_walk(parser, ()))


def _walk(parser: argparse.ArgumentParser, path: tuple[str, ...]) -> Iterator[Place]:
    options: list[Word] = []
    words: list[Word] = []
    inner: list[tuple[str, argparse.ArgumentParser]] = []
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to its own tree
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - the same
            inner = list(action.choices.items())
            words += [
                Word(choice.dest, choice.help or "")
                for choice in action._choices_actions  # noqa: SLF001 - the same
            ]
        elif action.option_strings:
            options += [Word(text, action.help or "") for text in action.option_strings]
        elif action.choices:
            words += [Word(str(choice), "") for choice in action.choices]
    yield Place(path, tuple(words), tuple(options))
    for name, child in inner:
        yield from _walk(child, (*path, name))


def script(shell: Shell, places: Sequence[Place]) -> str:
    """Return the script for one shell."""
    match shell:
        case Shell.BASH:
            return _bash(places)
        case Shell.ZSH:
            return _zsh(places)
        case Shell.FISH:
            return _fish(places)


def _bash(places: Sequence[Place]) -> str:
    cases = "\n".join(
        f'    "{" ".join(place.path)}")\n'
        f'      words="{_joined(place.words)}"\n'
        f'      options="{_joined(place.options)}" ;;'
        for place in places
    )
    return f"""\
# bash completion of fodc; load it with: source <(fodc completion bash)
_fodc() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}"
  local path="" words="" options="" each
  for each in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case " {" ".join(_paths(places))} " in
      *" ${{path:+${{path// //}}/}}${{each}} "*) path="${{path:+$path }}$each" ;;
    esac
  done
  case "$path" in
{cases}
  esac
  case "$previous" in
    -o) COMPREPLY=($(compgen -W "table wide json yaml" -- "$current")); return ;;
    --output-dir) COMPREPLY=($(compgen -d -- "$current")); return ;;
  esac
  if [[ "$current" == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$current"))
  elif [[ -n "$words" ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  else
    COMPREPLY=($(compgen -f -- "$current"))
  fi
}}
complete -F _fodc fodc
"""


def _paths(places: Sequence[Place]) -> list[str]:
    """Return the paths with slashes, each one word for a shell's `case`."""
    return ["/".join(place.path) for place in places if place.path]


def _joined(words: Sequence[Word]) -> str:
    return " ".join(word.text for word in words)


def _zsh(places: Sequence[Place]) -> str:
    cases = "\n".join(
        f'    "{" ".join(place.path)}")\n      words_=({_described(place.words)})\n'
        f"      options_=({_described(place.options)}) ;;"
        for place in places
    )
    return f"""\
#compdef fodc
# zsh completion of fodc; put it into a directory of $fpath as _fodc
_fodc() {{
  local place="" each
  local -a words_ options_
  for each in ${{words[2,CURRENT-1]}}; do
    case " {" ".join(_paths(places))} " in
      *" ${{place:+${{place// //}}/}}${{each}} "*) place="${{place:+$place }}$each" ;;
    esac
  done
  case "$place" in
{cases}
  esac
  case "${{words[CURRENT-1]}}" in
    -o) compadd table wide json yaml; return ;;
    --output-dir) _files -/; return ;;
  esac
  if [[ "${{words[CURRENT]}}" == -* ]]; then
    _describe option options_
  elif (( ${{#words_}} )); then
    _describe word words_
  else
    _files
  fi
}}
if [[ "$funcstack[1]" == _fodc ]]; then
  _fodc "$@"
else
  compdef _fodc fodc
fi
"""


def _described(words: Sequence[Word]) -> str:
    return " ".join(_single(f"{word.text}:{_brief(word.meaning)}") for word in words)


def _brief(meaning: str) -> str:
    return meaning.partition(";")[0].partition(" (default")[0].replace(":", " -").replace("%", "")


def _single(text: str) -> str:
    """Quote for a POSIX-like shell and for fish alike: no quote character is left inside."""
    return "'" + text.replace("'", "").replace("\\", "") + "'"


def _fish(places: Sequence[Place]) -> str:
    lines = ["# fish completion of fodc; load it with: fodc completion fish | source"]
    lines.append("complete -c fodc -f")
    for place in places:
        start = f"complete -c fodc -n {_fish_condition(place, places)}"
        lines += [f"{start} -a {_single(word.text)} {_meaning(word)}" for word in place.words]
        lines += [f"{start} {_fish_option(word.text)} {_meaning(word)}" for word in place.options]
    lines.append("complete -c fodc -s o -x -a 'table wide json yaml'")
    lines.append("complete -c fodc -n '__fish_seen_subcommand_from top' -F")
    return "\n".join(lines) + "\n"


def _meaning(word: Word) -> str:
    return f"-d {_single(_brief(word.meaning))}"


def _fish_condition(place: Place, places: Sequence[Place]) -> str:
    if not place.path:
        return "__fish_use_subcommand"
    seen = [f"__fish_seen_subcommand_from {verb}" for verb in place.path]
    deeper = [
        other.path[-1] for other in places
        if len(other.path) == len(place.path) + 1 and other.path[:-1] == place.path
    ]  # fmt: skip
    if deeper:
        seen.append(f"not __fish_seen_subcommand_from {' '.join(deeper)}")
    return _single("; and ".join(seen))


def _fish_option(text: str) -> str:
    return f"-l {text[2:]}" if text.startswith("--") else f"-s {text[1:]}"
