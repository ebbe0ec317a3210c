# SPDX-License-Identifier: Apache-2.0
"""Every field of the link has who writes it at one end and who reads it at the other (A12).

The codecs do not count, they carry. A writer is found by the call that makes the message, a reader
by the name of the attribute alone, so that a namesake may hide one; what is found is dead for
certain.
"""

import ast
import dataclasses
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from fodc_protocol.link import frames

ROOT = Path(__file__).parents[2]
SHARED = ("proto/src/fodc_protocol",)
AGENT = ("agent/src/fodc_agent", *SHARED)
PROXY = ("operator/src/fodc_proxy", "operator/src/fodc_operator", *SHARED)
CARRIERS = {"codec.py", "frames.py"}


def messages(union: object) -> list[type]:
    """Return the messages of a union, and those that are fields of them."""
    found, open_ = [], list(typing.get_args(union))
    while open_:
        one = open_.pop()
        if one in found:
            continue
        found.append(one)
        for kind in typing.get_type_hints(one).values():
            inner = (kind, *typing.get_args(kind))
            open_ += [part for part in inner if getattr(part, "__module__", "") == frames.__name__]
    return [one for one in found if dataclasses.is_dataclass(one)]


@cache
def nodes(end: tuple[str, ...]) -> tuple[ast.AST, ...]:
    paths = [path for root in end for path in (ROOT / root).rglob("*.py")]
    trees = [ast.parse(path.read_text()) for path in paths if path.name not in CARRIERS]
    return tuple(node for tree in trees for node in ast.walk(tree))


def called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def written(end: tuple[str, ...], cls: type) -> Iterator[str]:
    names = [one.name for one in dataclasses.fields(cls)]
    for node in nodes(end):
        if isinstance(node, ast.Call) and called(node) in (cls.__name__, "replace"):
            yield from (word.arg for word in node.keywords if word.arg)
            if called(node) == cls.__name__:
                starred = any(isinstance(one, ast.Starred) for one in node.args)
                yield from names if starred else names[: len(node.args)]


def read(end: tuple[str, ...]) -> Iterator[str]:
    by_place = {
        cls.__name__: [one.name for one in dataclasses.fields(cls)] for cls in all_of_them()
    }
    for node in nodes(end):
        match node:
            case ast.Attribute(attr=name, ctx=ast.Load()):
                yield name
            case ast.MatchClass(cls=ast.Name(id=name) | ast.Attribute(attr=name)):
                yield from (*node.kwd_attrs, *by_place.get(name, [])[: len(node.patterns)])
            case _:
                pass


def all_of_them() -> list[type]:
    return [*messages(frames.AgentFrame), *messages(frames.ProxyFrame)]


def lacks(union: object, writers: tuple[str, ...], readers: tuple[str, ...]) -> set[str]:
    seen = set(read(readers))
    found = set()
    for cls in messages(union):
        given = set(written(writers, cls))
        for one in dataclasses.fields(cls):
            if one.name not in given:
                found.add(f"nobody writes {cls.__name__}.{one.name}")
            if one.name not in seen:
                found.add(f"nobody reads {cls.__name__}.{one.name}")
    return found


def test_what_an_agent_says_is_written_there_and_read_at_the_proxy() -> None:
    assert lacks(frames.AgentFrame, AGENT, PROXY) == set()


def test_what_a_proxy_says_is_written_there_and_read_at_the_agent() -> None:
    assert lacks(frames.ProxyFrame, PROXY, AGENT) == set()


@pytest.mark.parametrize("union", [frames.AgentFrame, frames.ProxyFrame])
def test_the_search_finds_what_only_codecs_touch(union: object) -> None:
    nothing = ("proto/src/fodc_wire",)
    expected = 2 * sum(len(dataclasses.fields(cls)) for cls in messages(union))

    assert len(lacks(union, nothing, nothing)) == expected
