# SPDX-License-Identifier: Apache-2.0
"""The program as a whole: help, global options, exit codes, version."""

import argparse
import json
import shlex
import socket
import subprocess
import sys

import msgspec
import pytest

from fodc_api.artifacts import ArtifactsQuery
from fodc_api.cluster import ClusterQuery
from fodc_api.requests import CancelQuery, RequestSpec, RequestsQuery
from fodc_api.windows import WindowsQuery
from fodc_client import wording
from fodc_client.__main__ import build_parser, main


def parsers(parser, path=()):
    """Yield each verb's path and parser."""
    yield path, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield from parsers(child, (*path, name))


TREE = dict(parsers(build_parser()))


@pytest.mark.parametrize("path", TREE, ids=" ".join)
def test_help_of_each_command_has_a_working_example(path):
    text = TREE[path].format_help()

    examples = [line.strip() for line in text.partition("examples:\n")[2].splitlines()]
    ours = [line for line in examples if " ".join(("fodc", *path)) in line]
    assert ours
    for line in ours:
        words = line[line.index("fodc ") :].partition(" || ")[0].partition(" > ")[0]
        words = words.partition(" | ")[0].removesuffix(")")
        build_parser().parse_args(shlex.split(words)[1:])


@pytest.mark.parametrize("path", TREE, ids=" ".join)
def test_each_option_of_each_command_is_explained(path):
    for action in TREE[path]._actions:
        if not isinstance(action, argparse._SubParsersAction):
            assert action.help, action.option_strings


def test_help_documents_every_exit_code():
    text = build_parser().format_help()

    for code in ("0  ", "1  ", "2  ", "3  ", "4  ", "5  ", "130"):
        assert f"\n  {code}  " in text


def test_module_runs_as_a_program():
    command = [sys.executable, "-m", "fodc_client", "version", "--client"]

    ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)

    assert ran.stdout.startswith("fodc ")


def test_what_is_said_of_a_table_comes_behind_it_where_both_go_to_one_file(stage, spawn):
    stage.agent("data-0")
    unbuffered = {"PYTHONUNBUFFERED": ""}

    both, _ = spawn("config", "diff", stderr=subprocess.STDOUT, env=unbuffered).communicate()
    lines = both.decode().splitlines()

    assert lines[-1].startswith("ROLE_DATA: one node")


def test_version_names_both_programs(fodc, stage):
    ran = fodc("version")

    ours, theirs = ran.out.splitlines()
    assert theirs == f"proxy {ours.removeprefix('fodc ')} at {stage.url}"
    assert set(json.loads(fodc("version", "-o", "json").out)) == {"client", "proxy"}


def test_version_is_no_failure_without_a_proxy(capsys):
    assert main(["version", "--proxy", "127.0.0.1:1"]) == 0
    assert "cannot reach the proxy" in capsys.readouterr().err


def test_global_options_stand_before_or_after_the_verb(stage, capsys):
    assert main(["--proxy", stage.url, "-o", "json", "artifacts", "list"]) == 0
    before = capsys.readouterr().out
    assert main(["artifacts", "list", "-o", "JSON", "--proxy", stage.url]) == 0
    assert capsys.readouterr().out == before
    assert json.loads(before)["artifacts"] == []


def test_proxy_is_taken_from_the_environment(stage, capsys, monkeypatch):
    monkeypatch.setenv("FODC_PROXY", stage.url.removeprefix("http://"))

    assert main(["nodes"]) == 0


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://h:port", "http://h:99999"])
def test_proxy_that_is_no_url_is_wrong_usage(url, capsys, monkeypatch):
    assert main(["nodes", "--proxy", url]) == 2
    assert "--proxy" in capsys.readouterr().err
    monkeypatch.setenv("FODC_PROXY", url)
    assert main(["nodes"]) == 2
    assert f"FODC_PROXY {url!r} is no URL" in capsys.readouterr().err


def test_unreachable_proxy_is_explained(capsys):
    assert main(["nodes", "--proxy", "http://127.0.0.1:1"]) == 3
    assert capsys.readouterr().err == (
        "fodc: cannot reach the proxy at http://127.0.0.1:1: connection refused. "
        "Is fodc-proxy running? Set --proxy or FODC_PROXY.\n"
    )


def test_silent_proxy_is_given_up_after_the_timeout(capsys):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert main(["nodes", "--proxy", url, "--timeout", "0.3"]) == 3
    assert "did not answer within 0.3 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "says", "program"),
    [
        (
            ["artifacts", "get", "--color"],
            "--color is no option here. Did you mean --no-color?",
            "",
        ),
        (["nodes", "-o", "xml"], "-o 'xml' is unknown. There are: table, wide, json, yaml", ""),
        (["node"], "COMMAND 'node' is unknown. Did you mean nodes?", ""),
        (["artifacts", "ls"], "COMMAND 'ls' is unknown.", "artifacts"),
        (["requests", "cancel", "x", "--mode", "kill"], "--mode 'kill' is unknown.", "requests"),
    ],
)
def test_wrong_usage_says_what_was_meant_and_points_at_the_help(fodc_alone, argv, says, program):
    """C2: no suggestion for `fodc node`."""
    ran = fodc_alone(*argv)

    assert ran.code == 2
    assert ran.err.startswith(f"fodc: {says}")
    assert f"See `fodc {program}" in ran.err
    assert ran.err.endswith("--help`.\n")


@pytest.mark.parametrize("argv", [[], ["artifacts"], ["requests"], ["config"]], ids=" ".join)
def test_word_that_only_stands_before_others_shows_them(argv, capsys):
    """C2: bare `fodc` was an error."""
    assert main(argv) == 0

    shown = capsys.readouterr()
    assert shown.out.startswith(" ".join(["usage: fodc", *argv]))
    assert "commands:" in shown.out
    assert shown.err == ""


def test_proxy_of_another_product_is_recognized(stage, capsys):
    assert main(["nodes", "--proxy", f"{stage.url}/elsewhere"]) == 1

    assert "Is --proxy the address of a FODC proxy of this product?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<html>", "the answer is no JSON but '<html>'"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"nodes": []}', "Object missing required field `generated_at`"),
        (b"\xff", "the answer is no JSON"),
    ],
)
def test_answer_that_cannot_be_read_names_the_place(fodc, relay, body, says):
    relay.instead["/cluster"] = (200, body)

    ran = fodc("nodes")

    assert ran.code == 1
    assert says in ran.err
    assert f"GET {relay.url}/cluster" in ran.err


# ---- words ------------------------------------------------------------------------------------


def fields_of(kind, path=""):
    """Yield the path of each field of a Struct, places in lists left out."""
    for field in msgspec.inspect.type_info(kind).fields:
        inside = field.type
        while not isinstance(inside, msgspec.inspect.StructType):
            inside = getattr(inside, "type", None) or getattr(inside, "item_type", None)
            if inside is None:
                break
        yield f"{path}{field.encode_name}"
        if inside is not None:
            yield from fields_of(inside.cls, f"{path}{field.encode_name}.")


def test_every_field_that_is_put_into_words_is_one_of_the_api():
    """C2: a table of words for fields that are called otherwise would say nothing."""
    queries = (ArtifactsQuery, CancelQuery, ClusterQuery, RequestsQuery, WindowsQuery)
    known = {path for kind in (RequestSpec, *queries) for path in fields_of(kind)}

    assert set(wording.OPTIONS) - known == set()


@pytest.mark.parametrize("name", ["duration_seconds", "gc", "profile"])
def test_a_place_in_a_list_is_no_part_of_the_words(name):
    said = wording.of_option(f"captures[7].{name}", f"captures[7].{name} is wrong")

    assert said == f"{wording.OPTIONS[f'captures.{name}']} is wrong"
