# SPDX-License-Identifier: Apache-2.0
"""The file of --agent-tokens-file: what it may hold, and that it is read anew."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from fodc_protocol.errors import BadRequestError, OptionError
from fodc_proxy.access.agents.rules import NamedIdentity
from fodc_proxy.access.agents.token_lines import OPTION, parse_tokens
from fodc_proxy.access.kept_file import KeptFile
from fodc_proxy.fleet.proving import Proof

TOKEN = "s3cret-s3cret-s3cret"
HASHED = hashlib.sha256(TOKEN.encode()).hexdigest()
RACK = NamedIdentity(Proof.TOKEN, "rack-1", ("db-0", "test/data-*"))


@pytest.mark.parametrize("token", [TOKEN, f"sha256:{HASHED}"])
def test_a_line_is_a_name_a_token_and_agents(token: str) -> None:
    text = f"# name agents token\n\nrack-1  db-0,test/data-* {token}  # the first rack\n"

    assert parse_tokens(text) == {bytes.fromhex(HASHED): RACK}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"rack-1 {TOKEN}", "must be NAME AGENT[,AGENT…] TOKEN, three words"),
        (f"<rack> db-0 {TOKEN}", "a name has 1 to 128 letters"),
        (f"rack-1 db-*-0 {TOKEN}", "an agent is a pod name or namespace/pod"),
        (f"rack-1 db-0, {TOKEN}", "an agent is a pod name or namespace/pod"),
        ("rack-1 db-0 s3cret", "a token has 16 to 8192 letters"),
        (f"a x {TOKEN}\na y another-{TOKEN}", "the name of line 1 stands here again"),
        (f"a * {TOKEN}\nb * {TOKEN}", "the token of line 1 stands here again"),
    ],
)
def test_a_wrong_line_is_named_and_not_repeated(line: str, words: str) -> None:
    with pytest.raises(BadRequestError) as raised:
        parse_tokens(line)

    assert raised.value.message.startswith(f"line {line.count(chr(10)) + 1}: {words}")
    assert "s3cret" not in raised.value.message


def test_the_file_is_read_anew_and_one_that_breaks_later_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"rack-1 db-0,test/data-* {TOKEN}\n")

    async def within() -> None:
        file = KeptFile(OPTION, str(path), parse_tokens, look_every_s=0)
        assert (await file.look(TOKEN), await file.look("another")) == (RACK, None)
        path.write_text("broken\n")
        assert await file.look(TOKEN) == RACK
        assert file.fault == (
            f"--agent-tokens-file: {path}: line 1: must be NAME AGENT[,AGENT…] TOKEN, three words"
        )
        path.write_text(f"rack-2 * {TOKEN}-2\n")
        assert await file.look(TOKEN) is None
        assert (await file.look(f"{TOKEN}-2"), file.fault) == (
            NamedIdentity(Proof.TOKEN, "rack-2", ("*",)),
            "",
        )

    asyncio.run(within())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read {path}: no such file or directory"),
        (b"\xff", "{path}: is not UTF-8"),
        (b"#" * (1024 * 1024 + 1), "{path}: has more than 1048576 bytes"),
    ],
)
def test_a_file_that_cannot_be_read_at_the_start_is_an_error(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "tokens"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(OptionError) as raised:
        KeptFile(OPTION, str(path), parse_tokens)

    assert raised.value.message == f"--agent-tokens-file: {words.format(path=path)}"
