# SPDX-License-Identifier: Apache-2.0
"""What shells complete: words of the program, and names that only the proxy knows."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.client.stage import Gives

SHELLS = ("bash", "zsh", "fish")


@pytest.fixture
def program(tmp_path):
    """A folder that has the program under its name."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "fodc").write_text(f'#!/bin/sh\nexec {sys.executable} -m fodc_client "$@"\n')
    (folder / "fodc").chmod(0o755)
    return folder


@pytest.fixture
def shell(program, tmp_path, fodc_alone):
    """Run a program of a shell that has loaded the script; returns what it printed."""

    def run(name, lines, proxy="127.0.0.1:1"):
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"{name} is not installed")
        script = tmp_path / "script"
        script.write_text(fodc_alone("completion", name).out)
        plain = {"bash": ["--norc", "-c"], "zsh": ["-f", "-c"], "fish": ["--no-config", "-c"]}
        home = {"HOME": str(tmp_path), "FODC_PROXY": proxy, "TERM": "xterm"}
        environment = {**os.environ, **home, "PATH": f"{program}:{os.environ['PATH']}"}
        command = [path, *plain[name], lines.replace("SCRIPT", str(script))]
        ran = subprocess.run(
            command,
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    return run


@pytest.fixture
def offered(shell, stage):
    """What bash offers behind a line, with the proxy at hand."""

    def complete(line):
        asked = (
            f"source SCRIPT; COMP_LINE='{line}'; COMP_POINT={len(line)}; COMP_TYPE=9; "
            '_python_argcomplete fodc; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        return shell("bash", asked, proxy=stage.url).split()

    return complete


@pytest.mark.parametrize("name", SHELLS)
def test_completion_script_loads(shell, name):
    loading = (
        "autoload -U compinit; compinit -u; source SCRIPT" if name == "zsh" else "source SCRIPT"
    )

    assert shell(name, f"{loading}; echo loaded") == "loaded\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("fodc no", ["nodes"]),
        ("fodc artifacts ", ["list", "get", "delete"]),
        ("fodc incidents list --cause OOM", ["OOMKilled"]),
        ("fodc --no-color artifacts g", ["get"]),
        ("fodc requests cancel x --mo", ["--mode"]),
        ("fodc requests cancel x --mode ", ["stop", "abort"]),
        ("fodc requests list --phase Su", ["Succeeded"]),
        ("fodc capture go", ["goroutine"]),
        ("fodc nodes -o j", ["json"]),
        ("fodc completion ", ["bash", "zsh", "fish"]),
        ("fodc capture cpu --purpose ", []),
    ],
)
def test_bash_completes_words_of_the_program(offered, line, expected):
    """C6: files were offered for `--mode`."""
    assert offered(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("fodc nodes data-", ["data-0", "data-1"]),
        ("fodc capture cpu --node ", ["data-0", "data-1", "liaison-0"]),
        ("fodc capture cpu --node data-0,lia", ["data-0,liaison-0"]),
        ("fodc capture cpu --node=data-1", ["data-1"]),
        ("fodc config show lia", ["liaison-0"]),
        ("fodc nodes --role d", ["data", "data-hot", "data-warm"]),
        ("fodc capture cpu --tier ", ["hot", "warm"]),
        ("fodc windows data-0 u", ["up"]),
    ],
)
def test_bash_completes_names_from_the_proxy(offered, stage, line, expected):
    """C6: profiles were offered for `--node`, nodes never."""
    stage.agent("data-0", tier="hot")
    stage.agent("data-1", tier="warm")
    stage.agent("liaison-0", "ROLE_LIAISON", tier="")

    assert offered(line) == expected


def test_bash_completes_requests_and_artifacts_from_the_proxy(
    offered, fodc, stage, recorded, tmp_path
):
    stage.agent("data-0", plans={"heap": Gives(recorded("heap"))})
    fodc("capture", "heap", "--all", "--output-dir", tmp_path / "out")

    assert fodc("requests", "list").out.splitlines()[1].split()[0] in offered(
        "fodc requests show c"
    )
    assert fodc("artifacts", "list").out.splitlines()[1].split()[0] in offered(
        "fodc artifacts get a"
    )


def test_bash_completes_files_where_a_file_is_meant(offered, tmp_path):
    (tmp_path / "heap.pb.gz").touch()

    assert offered("fodc top heap") == ["heap.pb.gz"]
    assert offered("fodc capture cpu --output-dir b") == ["bin/"]


def test_completion_offers_nothing_and_says_nothing_without_a_proxy(shell):
    line = "fodc nodes data-"
    asked = (
        f"source SCRIPT; COMP_LINE='{line}'; COMP_POINT={len(line)}; _python_argcomplete fodc; "
        'printf "%s" "${COMPREPLY[@]}"'
    )

    assert shell("bash", asked) == ""


def test_fish_completes_with_what_the_words_mean(shell, stage):
    stage.agent("data-0")

    verbs = shell("fish", "source SCRIPT; complete -C 'fodc no'", proxy=stage.url)
    nodes = shell("fish", "source SCRIPT; complete -C 'fodc nodes data'", proxy=stage.url)

    assert verbs == "nodes\tlist the nodes, their phase and what runs on them\n"
    assert nodes.split() == ["data-0"]


def test_zsh_completes_at_its_prompt(shell, stage):
    """Zsh completes in its line editor only, so one runs in a pseudo terminal of another."""
    stage.agent("data-0")
    loading = "autoload -U compinit; compinit -u -D; source SCRIPT; print LOA''DED"
    lines = [
        "zmodload zsh/zpty",
        "zpty inner zsh -f",
        f'zpty -w inner "{loading}"',
        "zpty -r inner seen '*LOADED*'",
        "zpty -n -w inner $'fodc config show d\\t'",
        "zpty -r inner seen '*show data-0*'",
        "zpty -d inner",
        "print completed",
    ]

    assert shell("zsh", "\n".join(lines), proxy=stage.url) == "completed\n"
