# SPDX-License-Identifier: Apache-2.0
"""`fodc login` by the device flow, at an issuer in this process and a proxy that believes it."""

import json
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_client.__main__ import main
from fodc_client.commands import login as login_module
from fodc_client.errors import BadAnswerError, ClientError
from fodc_client.login import device, keeping, using
from fodc_proxy.access.oidc.claims import Issuer
from fodc_proxy.access.settings import AccessSettings
from tests.client.device_issuer import DEVICE_CODE, REFRESH, device_issuer, pending
from tests.proxy.access.issuer import AUDIENCE


@pytest.fixture
def issuer():
    with device_issuer() as found:
        yield found


@pytest.fixture
def told(issuer):
    return {"access": AccessSettings(issuer=Issuer(issuer.url, AUDIENCE))}


@pytest.fixture
def slept(monkeypatch, tmp_path):
    """A folder for logins of its own, and pauses that are noted instead of made."""
    pauses = []
    monkeypatch.setattr(login_module.time, "sleep", pauses.append)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("FODC_TOKEN", raising=False)
    return pauses


@pytest.fixture
def ask(stage, capsys, slept, issuer):
    stage.agent("banyandb-data-0")

    def run(*argv, proxy=stage.url):
        code = main([*argv, "--proxy", proxy])
        said = capsys.readouterr()
        told = said.out + said.err
        assert not any(one in told for one in (DEVICE_CODE, REFRESH, "eyJ"))
        return code, said.out, said.err

    return run


def folder(tmp_path):
    return tmp_path / "config" / "fodc" / "logins"


def start(ask, issuer, *more):
    return ask("login", "--issuer", issuer.url, "--client-id", "fodc-cli", *more)


# ---- in order -----------------------------------------------------------------------------------


def test_who_has_logged_in_is_known_to_the_proxy(ask, issuer, slept):
    issuer.answers = [pending(), pending("slow_down"), pending()]
    assert ask("nodes")[0] == 1

    code, _, err = start(ask, issuer)

    assert code == 0
    assert f"open {issuer.url}/device and enter the code WDJB-MJHT" in err
    assert slept == [5.0, 5.0, 10.0, 10.0]
    code, out, _ = ask("nodes")
    assert (code, "banyandb-data-0" in out) == (0, True)


def test_the_login_is_readable_by_its_owner_alone(ask, issuer, tmp_path):
    start(ask, issuer)

    (path,) = folder(tmp_path).glob("*.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder(tmp_path).stat().st_mode) == 0o700
    path.chmod(0o640)
    code, _, err = ask("nodes")
    assert code == 2
    assert f"others can read the login in {path}: chmod 600 {path}" in err


def test_a_token_that_ends_is_renewed_without_a_person(ask, issuer, tmp_path):
    issuer.lasts_s = 10
    start(ask, issuer)
    issuer.lasts_s = 300
    before = issuer.asked[:]

    assert ask("nodes")[0] == 0
    assert ask("nodes")[0] == 0

    tokens = [form for path, form in issuer.asked[len(before) :] if path.endswith("/token")]
    assert [one["grant_type"] for one in tokens] == ["refresh_token"]
    (kept,) = keeping.kept(folder(tmp_path))
    assert kept.refresh_token != tokens[0]["refresh_token"]


def test_a_login_that_the_issuer_has_ended_says_so(ask, issuer):
    issuer.lasts_s = 10
    start(ask, issuer)
    issuer.refuses_refresh = True

    code, _, err = ask("nodes")

    assert code == 1
    assert f"the login at {issuer.url} has ended: `fodc login` again" in err
    assert "Session not active" in err


def test_a_token_goes_to_the_proxy_that_it_was_fetched_for_only(ask, issuer, tmp_path):
    start(ask, issuer)
    (kept,) = keeping.kept(folder(tmp_path))
    environment = {"XDG_CONFIG_HOME": str(tmp_path / "config")}

    assert using.token_for(kept.proxies[0], environment) == kept.token
    assert using.token_for("https://elsewhere.example", environment) == ""


def test_a_second_proxy_of_an_issuer_shares_its_login(ask, issuer, tmp_path):
    start(ask, issuer)
    start(lambda *argv: ask(*argv, proxy="http://127.0.0.1:9"), issuer)

    (kept,) = keeping.kept(folder(tmp_path))
    assert len(kept.proxies) == 2
    assert "http://127.0.0.1:9" in kept.proxies


def test_the_second_time_nothing_has_to_be_said(ask, issuer):
    assert ask("login")[0] == 2
    start(ask, issuer)
    assert ask("login")[0] == 0


def test_who_logs_out_is_forgotten_here_and_there(ask, issuer, tmp_path):
    start(ask, issuer)

    code, _, err = ask("logout")

    assert (code, f"logged out at {issuer.url}" in err) == (0, True)
    path, form = issuer.asked[-1]
    assert path.endswith("/revoke")
    assert form["token"].startswith(REFRESH)
    assert list(folder(tmp_path).glob("*.json")) == []
    assert ask("nodes")[0] == 1
    assert "nobody is logged in" in ask("logout")[2]


# ---- what goes wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (pending("access_denied"), "the login was refused there"),
        (pending("expired_token"), "nobody has logged in in time"),
        ((400, {"error": "unauthorized_client"}), "refused the login: unauthorized_client"),
        ((500, {}), "refused the login: HTTP 500"),
        ((200, {"token_type": "Bearer"}), "answers what cannot be read"),
        ((200, {"access_token": "two words"}), "its tokens cannot be read"),
    ],
)
def test_a_login_that_comes_to_nothing_says_why(ask, issuer, tmp_path, answer, why):
    issuer.answers = [answer]

    code, _, err = start(ask, issuer)

    assert code == 1
    assert why in err
    assert not list(folder(tmp_path).glob("*.json"))


def test_nobody_is_sent_to_a_page_in_the_clear_or_of_another_issuer(ask, issuer):
    issuer.device = {"verification_uri": "http://elsewhere.example/login"}
    assert "must be a plain https URL" in start(ask, issuer)[2]
    issuer.named = "https://elsewhere.example"
    assert "says that it is another issuer" in start(ask, issuer)[2]


def test_an_issuer_without_the_flow_and_one_that_is_away_are_told(ask, issuer):
    issuer.has_device_flow = False
    assert "has no device flow" in start(ask, issuer)[2]
    gone = "http://127.0.0.1:9/realms/ops"
    code, _, err = ask("login", "--issuer", gone, "--client-id", "fodc-cli")
    assert (code, f"cannot reach the issuer {gone}: connection refused" in err) == (3, True)


@pytest.mark.parametrize(
    "url",
    ["sso.example", "http://sso.example", "https://a:b@sso.example", "https://[::", "ftp://x"],
)
def test_an_issuer_that_cannot_be_trusted_is_wrong_usage(ask, url):
    code, _, err = ask("login", "--issuer", url, "--client-id", "fodc-cli")
    assert code == 2
    assert "--issuer " in err


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"proxies": 3}', b"[" * 100_000])
def test_a_damaged_login_is_told_with_its_file(ask, tmp_path, content):
    folder(tmp_path).mkdir(parents=True)
    path = folder(tmp_path) / "a.json"
    path.write_bytes(content)
    path.chmod(0o600)

    code, _, err = ask("nodes")

    assert code == 2
    assert f"{path} is no login" in err


def test_no_part_of_a_login_is_in_its_words():
    kept = keeping.Login("https://i", "c", "https://i/t", "the-token", "the-refresh-token")
    assert "the-" not in repr(kept)


# ---- whatever an issuer says --------------------------------------------------------------------

anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
words = st.sampled_from(
    ["access_token", "expires_in", "interval", "device_code", "user_code", "verification_uri"]
)
said = st.binary(max_size=200) | st.builds(
    lambda value: json.dumps(value).encode(), anything | st.dictionaries(words, anything)
)


@given(st.sampled_from([200, 400, 500]), said)
def test_whatever_an_issuer_says_is_an_answer_or_a_sentence(status, data):
    for read in (
        lambda: device.polled(status, data, 5.0, "https://i"),
        lambda: device.discovery_of(data, "https://i"),
        lambda: device.first_pause_s(device.device_of(data, "https://i")),
    ):
        try:
            found = read()
        except ClientError as error:
            found = str(error)
        assert not isinstance(found, str) or found.isprintable()


@given(st.floats())
def test_the_pause_between_questions_is_bounded(interval):
    asked = device.Device("d", "u", "https://i", 60, interval=interval)
    assert 1.0 <= device.first_pause_s(asked) <= 60.0


def test_a_signed_token_is_shown_and_not_an_opaque_one():
    assert device.Tokens("a.b.c", id_token="d.e.f").shown == "a.b.c"
    assert device.Tokens("opaque", id_token="d.e.f").shown == "d.e.f"
    with pytest.raises(BadAnswerError):
        device.tokens_of(b'{"access_token": "' + b"x" * 20_000 + b'"}', "https://i")
