# SPDX-License-Identifier: Apache-2.0
"""Tokens of an issuer with Keycloak's shapes at a real proxy, and what is refused."""

import asyncio
import base64
import hashlib
import hmac
import json
import time

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from fodc_protocol.errors import BadRequestError, OptionError
from fodc_proxy.access.callers import Caller
from fodc_proxy.access.oidc import keys as keys_module
from fodc_proxy.access.oidc.claims import Issuer, caller_of_claims, wrong_url
from fodc_proxy.access.roles import Role
from fodc_proxy.access.settings import AccessSettings
from fodc_proxy.settings import resolved, settings_of

from ..live import fetch, running  # noqa: TID252 - one folder's tests
from .issuer import AUDIENCE, issuing, jwk_of, rsa_key


def played(tmp_path, scene, **told):
    async def run():
        async with issuing() as issuer:
            access = AccessSettings(issuer=Issuer(issuer.url, AUDIENCE, **told))
            async with running(tmp_path, access=access) as proxy:
                return await scene(proxy, issuer)

    return asyncio.run(run())


def get(proxy, token, path="/session"):
    return fetch(proxy, path, Authorization=f"Bearer {token}")


# ---- whose it is ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "roles"),
    [
        ({"realm_access": {"roles": ["fodc-viewer", "admin"]}}, ["viewer"]),
        ({"resource_access": {AUDIENCE: {"roles": ["fodc-profiler"]}}}, ["profiler"]),
        ({"roles": ["fodc-admin", "fodc-viewer"]}, ["admin", "viewer"]),
        ({"roles": "fodc-viewer other"}, ["viewer"]),
    ],
)
def test_roles_are_found_where_keycloak_and_others_put_them(tmp_path, claims, roles):
    async def scene(proxy, issuer):
        return await get(proxy, issuer.token(**claims))

    answer = played(tmp_path, scene)
    assert answer.status == 200
    told = json.loads(answer.text)
    assert (told["caller"], told["authenticated"], told["roles"]) == ("anna", "oidc", roles)


@pytest.mark.parametrize(
    "claims",
    [
        {},  # realm_access has `admin`, which is a role of something else
        {"resource_access": {"another-client": {"roles": ["fodc-admin"]}}},
        {"realm_access": ["fodc-admin"]},
        {"realm_access": {"roles": [["fodc-admin"], 1, None]}},
        {"groups": ["fodc-admin"]},
    ],
)
def test_who_has_no_role_of_ours_may_nothing_and_hears_who_gives_them(tmp_path, claims):
    async def scene(proxy, issuer):
        return await get(proxy, issuer.token(**claims)), issuer.url

    answer, url = played(tmp_path, scene)
    assert answer.status == 403
    assert f"whoever gives roles fodc-… at {url} grants it" in answer.text


def test_a_claim_that_was_named_is_the_only_one(tmp_path):
    async def scene(proxy, issuer):
        named = {"https://x.example/roles": ["team.viewer"]}
        return (
            await get(proxy, issuer.token(roles=None, **named)),
            await get(proxy, issuer.token(roles=["team.viewer"])),
        )

    told = {"roles_claim": "https://x.example/roles", "role_prefix": "team."}
    assert [one.status for one in played(tmp_path, scene, **told)] == [200, 403]


@pytest.mark.parametrize(
    ("private", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (ec.generate_private_key(ec.SECP521R1()), "ES512"),
        (ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
        (rsa_key(), "PS256"),
    ],
)
def test_other_kinds_of_keys_are_understood(tmp_path, private, algorithm):
    async def scene(proxy, issuer):
        issuer.private, issuer.keys = private, [jwk_of(private, "k2")]
        return await get(proxy, issuer.token("k2", algorithm, roles=["fodc-viewer"]))

    assert played(tmp_path, scene).status == 200


# ---- what is refused --------------------------------------------------------------------------


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def unsigned(issuer, algorithm):
    return f"{part({'alg': algorithm, 'kid': 'k1'})}.{part(issuer.claims(roles=['fodc-admin']))}."


def signed_with_public_key(issuer):
    """The old trick: HS256 with the public key as the secret."""
    public = issuer.private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    told = unsigned(issuer, "HS256").rstrip(".")
    mac = hmac.new(public, told.encode(), hashlib.sha256).digest()
    return f"{told}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def altered(issuer):
    head, _, signature = issuer.token().split(".")
    return f"{head}.{part(issuer.claims(roles=['fodc-admin']))}.{signature}"


def of_another_key(issuer):
    return jwt.encode(issuer.claims(roles=["fodc-admin"]), rsa_key(), "RS256", {"kid": "k1"})


def endless(issuer):
    """Signed as it should be; the number is longer than the reader of JSON takes."""
    head = part({"alg": "RS256", "kid": "k1"})
    claims = json.dumps(issuer.claims(exp=0)).replace('"exp": 0', '"exp": ' + "9" * 5_000)
    body = base64.urlsafe_b64encode(claims.encode()).rstrip(b"=").decode()
    signer = jwt.get_algorithm_by_name("RS256")
    mac = signer.sign(f"{head}.{body}".encode(), issuer.private)
    return f"{head}.{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


NOW_S = int(time.time())
REFUSED = {
    "none": (lambda one: unsigned(one, "none"), "its algorithm is not accepted"),
    "nOnE": (lambda one: unsigned(one, "nOnE"), "its algorithm is not accepted"),
    "shared secret": (signed_with_public_key, "its algorithm is not accepted"),
    "no signature": (lambda one: unsigned(one, "RS256"), "its signature is wrong"),
    "altered": (altered, "its signature is wrong"),
    "another key": (of_another_key, "its signature is wrong"),
    "expired": (lambda one: one.token(exp=NOW_S - 60), "it has expired"),
    "no end": (lambda one: one.token(exp=None), "it has no claim exp"),
    "not yet": (lambda one: one.token(nbf=int(time.time()) + 90), "it is not valid yet"),
    "audience": (lambda one: one.token(aud="account"), "it is meant for another audience"),
    "no audience": (lambda one: one.token(aud=None), "it has no claim aud"),
    "issuer": (lambda one: one.token(iss=one.url + "/"), "it is none of http://127.0.0.1:"),
    "no key": (lambda one: one.token(None), "it names no key"),
    "unknown key": (lambda one: one.token("k9"), "has no key of its name"),
    "no name": (
        lambda one: one.token(preferred_username=None, sub=None),
        "the token has no name in preferred_username or sub",
    ),
    "no token": (lambda _: "x.y.z", "it is none of http://127.0.0.1:"),
    "no end ever": (lambda one: one.token(exp=float("inf")), "it is not valid"),
    "ended before all time": (lambda one: one.token(exp=float("-inf")), "it is not valid"),
    "an end that is no number": (lambda one: one.token(exp=float("nan")), "it is not valid"),
    "an end in words": (lambda one: one.token(exp="tomorrow"), "it is not valid"),
    "an end that is a list": (lambda one: one.token(exp=[NOW_S + 60]), "it is not valid"),
    "begins never": (lambda one: one.token(nbf=float("inf")), "it is not valid"),
    "made at no time": (lambda one: one.token(iat=float("nan")), "it is not valid"),
    "an end of 5,000 digits": (endless, "it is none of http://127.0.0.1:"),
    "deep": (lambda _: "a." + "W1tb" * 2_000 + ".c", "it is none of http://127.0.0.1:"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_token_is_refused_with_the_reason_and_not_repeated(tmp_path, name):
    make, reason = REFUSED[name]

    async def scene(proxy, issuer):
        token = make(issuer)
        return token, await get(proxy, token), proxy.door.refused

    token, answer, refused = played(tmp_path, scene)
    assert answer.status == 401
    assert reason in answer.text
    assert token not in answer.text
    assert refused["WrongToken"] == 1


@pytest.mark.parametrize("exp", [10**40, 1e300, 253_402_300_800])
def test_an_end_that_is_far_is_an_end(tmp_path, exp):
    """A session of such a token lasts as long as any session does."""

    async def scene(proxy, issuer):
        token = issuer.token(roles=["fodc-viewer"], exp=exp)
        url = f"http://{proxy.http_address}/session"
        headers = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession() as session, session.post(url, headers=headers) as told:
            return (await get(proxy, token)).status, told.status, told.headers["Set-Cookie"]

    status, made, cookie = played(tmp_path, scene)
    assert (status, made) == (200, 201)
    assert "Max-Age=3600" in cookie


def test_a_little_difference_of_clocks_is_forgiven(tmp_path):
    async def scene(proxy, issuer):
        now_s = int(time.time())
        claims = {"exp": now_s - 10, "nbf": now_s + 10, "roles": ["fodc-viewer"]}
        return await get(proxy, issuer.token(**claims))

    assert played(tmp_path, scene).status == 200


def test_a_weak_key_and_one_for_encryption_are_no_keys(tmp_path):
    async def scene(proxy, issuer):
        issuer.private = rsa_key(1024)
        weak = jwk_of(issuer.private, "weak")
        issuer.keys = [weak, {**weak, "kid": "enc", "use": "enc"}]
        return [await get(proxy, issuer.token(name)) for name in ("weak", "enc")]

    with pytest.warns(jwt.InsecureKeyLengthWarning):
        weak, enc = played(tmp_path, scene)
    assert "its key has less than 2048 bits" in weak.text
    assert "has no key of its name" in enc.text


# ---- keys -------------------------------------------------------------------------------------


def test_a_new_key_is_fetched_when_a_token_names_it_and_strangers_cost_no_fetch(
    tmp_path, monkeypatch
):
    async def scene(proxy, issuer):
        good = {"roles": ["fodc-viewer"]}
        first = await get(proxy, issuer.token(**good))
        for number in range(50):
            await get(proxy, issuer.token(f"made-up-{number}"))
        asked = issuer.fetches
        issuer.private = rsa_key()
        issuer.keys.append(jwk_of(issuer.private, "k2"))
        monkeypatch.setattr(keys_module, "PAUSE_S", 0.0)
        return first, asked, await get(proxy, issuer.token("k2", **good))

    first, asked, second = played(tmp_path, scene)
    assert (first.status, asked, second.status) == (200, 1, 200)


def test_while_the_issuer_is_away_known_keys_are_used_and_others_hear_why(tmp_path, monkeypatch):
    async def scene(proxy, issuer):
        good = {"roles": ["fodc-viewer"]}
        before = await get(proxy, issuer.token(**good))
        issuer.is_away = True
        monkeypatch.setattr(keys_module, "PAUSE_S", 0.0)
        monkeypatch.setattr(keys_module, "FRESH_S", 0.0)
        known = await get(proxy, issuer.token(**good))
        new = await get(proxy, issuer.token("k2", **good))
        ready = await fetch(proxy, "/readyz")
        monkeypatch.setattr(keys_module, "LASTS_S", 0.0)
        late = await get(proxy, issuer.token(**good))
        return before, known, new, ready, late

    before, known, new, ready, late = played(tmp_path, scene)
    assert [one.status for one in (before, known, new, ready, late)] == [200, 200, 503, 200, 503]
    assert "was answered with 503" in new.text
    assert "DOES NOT WORK" in ready.text


@pytest.mark.parametrize(
    ("named", "keys", "reason"),
    [
        ("https://evil.example", None, "its discovery names another issuer"),
        ("", "no list", "its key set has no keys"),
        ("", ["x" * 2_000_000], "more than 1048576 bytes"),
    ],
)
def test_an_issuer_that_tells_nonsense_is_named_with_what_is_wrong(tmp_path, named, keys, reason):
    async def scene(proxy, issuer):
        issuer.named = named
        issuer.keys = issuer.keys if keys is None else keys
        return await get(proxy, issuer.token())

    answer = played(tmp_path, scene)
    assert answer.status == 503
    assert reason in answer.text


# ---- settings and claims ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("https://id.example/realms/ops", None),
        ("http://localhost:8080/realms/ops", None),
        ("http://[::1]:8080", None),
        ("http://id.example", "must begin with https, unless it is of this machine"),
        ("https://user:pw@id.example", "must have neither a password nor a query"),
        ("https://id.example?x=1", "must have neither a password nor a query"),
        ("ftp://id.example", "must be an https URL"),
        ("id.example", "must be an https URL"),
        ("https://[::1", "is no URL"),
    ],
)
def test_an_issuer_is_reached_by_tls(url, wrong):
    assert wrong_url(url) == wrong


def test_issuer_and_audience_need_each_other():
    flags = ("--http-oidc-issuer=https://id.example", "--http-oidc-audience=fodc")
    assert settings_of(resolved(flags, {})).access.issuer == Issuer("https://id.example", "fodc")
    for flag in flags:
        with pytest.raises(OptionError, match="need each other"):
            settings_of(resolved([flag], {}))
    with pytest.raises(OptionError, match="exclude each other"):
        settings_of(resolved([*flags, "--insecure-http"], {}))


def test_a_name_is_printable_and_bounded():
    issuer = Issuer("https://id.example", "fodc")
    assert caller_of_claims({"sub": "s1"}, issuer).name == "s1"
    for name in ("a\nb", "x" * 300, 7, ["anna"]):
        with pytest.raises(BadRequestError):
            caller_of_claims({"preferred_username": name}, issuer)
    found = caller_of_claims({"preferred_username": "anna", "roles": ["fodc-viewer"]}, issuer)
    assert isinstance(found, Caller)
    assert found.roles == {Role.VIEWER}
