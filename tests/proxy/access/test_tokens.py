# SPDX-License-Identifier: Apache-2.0
"""The file of tokens: what a line may be, and what an error never says."""

import asyncio
import hashlib

import pytest

from fodc_protocol.errors import BadRequestError, OptionError
from fodc_proxy.access.answers import Denied
from fodc_proxy.access.bearer import digest_of
from fodc_proxy.access.roles import Role
from fodc_proxy.access.tokens import callers_by_digest
from fodc_proxy.access.tokens_file import TokensFile

SECRET = "sesame-open-sesame"
TOKEN_WORDS = (
    "line 1: a token has 16 to 8192 letters, digits and ._~+/=-, or is `sha256:` and 64 "
    "hexadecimal digits"
)
NAME_WORDS = (
    "line 2: a name has 1 to 128 letters, digits and ._@:/-, and begins with one of the former"
)


def test_a_line_is_name_role_and_token():
    found = callers_by_digest(f"# people\n\nanna profiler {SECRET}  # in Oslo\n")
    caller = found[digest_of(SECRET)]
    assert (caller.name, caller.roles) == ("anna", {Role.PROFILER})
    assert str(caller) == "token-file:anna"


def test_a_token_may_be_written_as_its_digest():
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    assert set(callers_by_digest(f"anna viewer sha256:{digest}")) == {digest_of(SECRET)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"anna {SECRET}", "line 1: must be NAME ROLE TOKEN, three words"),
        (
            f"anna chief {SECRET}",
            "line 1: the role must be one of scraper, viewer, profiler, admin",
        ),
        (
            f"\n<a> viewer {SECRET}",
            NAME_WORDS,
        ),
        (
            "anna viewer short",
            TOKEN_WORDS,
        ),
        (
            "anna viewer sha256:0123456789abcdef",
            TOKEN_WORDS,
        ),
        (
            f"anna viewer {SECRET}\nbert admin {SECRET}",
            "line 2: the token of line 1 stands here again",
        ),
    ],
)
def test_a_wrong_line_is_named_and_its_token_is_not(text, message):
    with pytest.raises(BadRequestError) as caught:
        callers_by_digest(text)
    assert caught.value.message == message
    assert SECRET not in repr(caught.value)


def test_a_file_that_is_missing_is_an_error_of_its_option(tmp_path):
    with pytest.raises(OptionError, match=r"--http-tokens-file: cannot read .*no such file"):
        TokensFile(str(tmp_path / "absent"))


def written(path, text):
    new = path.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o600)
    new.replace(path)


def test_a_file_that_changes_is_read_again_and_a_wrong_one_changes_nothing(tmp_path):
    path = tmp_path / "tokens"
    written(path, f"anna viewer {SECRET}\n")
    source = TokensFile(str(path), look_every_s=0)

    async def play():
        assert (await source.caller_of(SECRET)).name == "anna"
        written(path, f"anna chief {SECRET}\n")
        assert (await source.caller_of(SECRET)).name == "anna"
        assert "the role must be one of" in source.fault
        path.unlink()
        assert (await source.caller_of(SECRET)).name == "anna"
        assert "no such file" in source.fault
        written(path, "bert admin another-token-of-bert\n")
        assert isinstance(await source.caller_of(SECRET), Denied)
        assert (await source.caller_of("another-token-of-bert")).name == "bert"
        assert source.fault == ""

    asyncio.run(play())


def test_a_file_that_others_can_read_is_told(tmp_path, caplog):
    path = tmp_path / "tokens"
    path.write_text(f"anna viewer {SECRET}\n")
    path.chmod(0o644)
    TokensFile(str(path))
    assert "chmod 600" in caplog.text
    assert SECRET not in caplog.text
