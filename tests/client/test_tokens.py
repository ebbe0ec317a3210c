# SPDX-License-Identifier: Apache-2.0
"""The command sends a token, says which right is missing, and shows the token nowhere."""

import pytest

from fodc_client.__main__ import main
from fodc_proxy.access.settings import AccessSettings

TOKENS = {"viewer": "the-token-of-a-viewer", "profiler": "the-token-of-a-profiler"}


@pytest.fixture
def told(tmp_path):
    """A proxy that knows a viewer and a profiler."""
    path = tmp_path / "tokens"
    path.write_text("".join(f"{role}-1 {role} {token}\n" for role, token in TOKENS.items()))
    path.chmod(0o600)
    return {"access": AccessSettings(tokens_file=str(path))}


@pytest.fixture
def ask(stage, capsys):
    stage.agent("banyandb-data-0")

    def run(*argv):
        code = main([*argv, "--proxy", stage.url])
        said = capsys.readouterr()
        assert not any(token in said.out + said.err for token in TOKENS.values())
        return code, said.out, said.err

    return run


def test_without_a_token_the_command_says_how_to_give_one(ask, monkeypatch):
    monkeypatch.delenv("FODC_TOKEN", raising=False)
    code, _, err = ask("nodes")
    assert code == 1
    assert "the proxy refused (Unauthenticated): this needs a token" in err
    assert "--token-file or FODC_TOKEN" in err


def test_a_token_of_the_environment_is_sent(ask, monkeypatch):
    monkeypatch.setenv("FODC_TOKEN", TOKENS["viewer"])
    code, out, _ = ask("nodes")
    assert (code, "banyandb-data-0" in out) == (0, True)


def test_a_token_file_wins_over_the_environment(ask, monkeypatch, tmp_path):
    monkeypatch.setenv("FODC_TOKEN", "a-wrong-token-of-nobody")
    (tmp_path / "mine").write_text(TOKENS["viewer"] + "\n")
    code, out, _ = ask("--token-file", str(tmp_path / "mine"), "nodes")
    assert (code, "banyandb-data-0" in out) == (0, True)


def test_a_missing_right_is_named_with_who_grants_it(ask, monkeypatch):
    monkeypatch.setenv("FODC_TOKEN", TOKENS["viewer"])
    code, _, err = ask("capture", "cpu", "--node", "banyandb-data-0", "--seconds", "1")
    assert code == 1
    assert "viewer-1 lacks the right capture (role profiler or more" in err
    assert "whoever writes the file of --http-tokens-file grants it" in err


def test_a_route_of_the_existing_contract_tells_it_too(ask, monkeypatch):
    monkeypatch.setenv("FODC_TOKEN", "a-wrong-token-of-nobody")
    code, _, err = ask("windows", "banyandb-data-0", "up")
    assert code == 1
    assert "the proxy refused" in err
    assert "the token is not accepted: it is not in the file of --http-tokens-file" in err


@pytest.mark.parametrize("content", ["", "two words", "umlaut-\u00e4", "a\nb", "x" * 20_000])
def test_a_file_without_a_token_is_wrong_usage(content, tmp_path, capsys):
    (tmp_path / "mine").write_text(content)
    code = main(["nodes", "--proxy", "127.0.0.1:1", "--token-file", str(tmp_path / "mine")])
    said = capsys.readouterr().err
    assert code == 2
    assert "has no token: must be one word of ASCII letters and signs" in said
    assert content == "" or content not in said


def test_a_file_that_is_not_there_is_wrong_usage(tmp_path, capsys):
    code = main(["nodes", "--proxy", "127.0.0.1:1", "--token-file", str(tmp_path / "absent")])
    assert code == 2
    assert "--token-file: cannot read" in capsys.readouterr().err
