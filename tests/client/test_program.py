# SPDX-License-Identifier: Apache-2.0
"""The program as a whole: help, global options, exit codes, completion, version."""

import argparse
import json
import shlex
import shutil
import socket
import subprocess
import sys

import pytest

from fodc_client.__main__ import build_parser, main
from fodc_client.completion import places_of


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


def test_version_names_both_programs(fodc, proxy):
    ran = fodc("version")

    assert ran.out.splitlines()[1] == f"proxy 0.1.0 at {proxy.url}"
    assert set(json.loads(fodc("version", "-o", "json").out)) == {"client", "proxy"}


def test_version_is_no_failure_without_a_proxy(capsys):
    assert main(["version", "--proxy", "127.0.0.1:1"]) == 0
    assert "cannot reach the proxy" in capsys.readouterr().err


def test_global_options_stand_before_or_after_the_verb(proxy, capsys):
    assert main(["--proxy", proxy.url, "-o", "json", "nodes"]) == 0
    before = capsys.readouterr().out
    assert main(["nodes", "-o", "json", "--proxy", proxy.url]) == 0
    assert capsys.readouterr().out == before


def test_proxy_is_taken_from_the_environment(proxy, capsys, monkeypatch):
    monkeypatch.setenv("FODC_PROXY", proxy.url.removeprefix("http://"))

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


def test_wrong_usage_points_at_the_help(capsys):
    assert main(["artifacts", "get", "--color"]) == 2
    assert "fodc" in capsys.readouterr().err
    assert main(["nodes", "-o", "xml"]) == 2
    assert "'xml' is none of: table, wide, json, yaml" in capsys.readouterr().err
    assert main([]) == 2


def test_proxy_of_another_product_is_recognized(fodc, proxy):
    ran = fodc("nodes", "--proxy", "unused")  # the fixture's --proxy comes last and wins

    assert ran.code == 0
    proxy_url = f"{proxy.url}/elsewhere"
    assert main(["nodes", "--proxy", proxy_url]) == 1


# ---- completion -------------------------------------------------------------------------------


@pytest.fixture
def script(fodc):
    return lambda shell: fodc("completion", shell).out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_parses(script, shell, tmp_path):
    path = tmp_path / "script"
    path.write_text(script(shell))
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")

    subprocess.run([program, "-n", str(path)], check=True, timeout=10)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_knows_every_verb_and_option(script, shell):
    text = script(shell)

    for place in places_of(build_parser()):
        for word in (*place.words, *place.options):
            assert word.text.lstrip("-") in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["fodc", "no"], ["nodes"]),
        (["fodc", "artifacts", ""], ["list", "get", "delete"]),
        (["fodc", "--no-color", "artifacts", "g"], ["get"]),
        (["fodc", "requests", "cancel", "--mo"], ["--mode"]),
        (["fodc", "capture", "go"], ["goroutine"]),
        (["fodc", "nodes", "-o", "j"], ["json"]),
        (["fodc", "completion", ""], ["bash", "zsh", "fish"]),
    ],
)
def test_bash_completes(script, tmp_path, words, expected):
    path = tmp_path / "script"
    path.write_text(script("bash"))
    quoted = " ".join(f"'{word}'" for word in words)
    program = (
        f"source {path}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _fodc; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )

    ran = subprocess.run(
        ["bash", "--norc", "-c", program], capture_output=True, text=True, timeout=10, check=True
    )

    assert ran.stdout.split() == expected
