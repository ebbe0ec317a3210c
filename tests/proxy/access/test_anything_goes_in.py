# SPDX-License-Identifier: Apache-2.0
"""Whatever a stranger sends is answered with an error of ours, in a time that its length says."""

import asyncio
import string

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fodc_protocol.errors import BadRequestError
from fodc_proxy.access.answers import Denied
from fodc_proxy.access.callers import Caller, is_own_machine
from fodc_proxy.access.links import Link, Links
from fodc_proxy.access.oidc.claims import Issuer, caller_of_claims, wrong_url
from fodc_proxy.access.oidc.keys import KeySet
from fodc_proxy.access.oidc.source import OidcCallers
from fodc_proxy.access.people import audiences_of
from fodc_proxy.access.tokens import callers_by_digest

MANY = settings(max_examples=300, suppress_health_check=list(HealthCheck))
LINK = Link("art-1", "anna", 2_000, "n1", is_for_once=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=20), inner, max_size=5)
    ),
    max_leaves=20,
)
TOKENISH = st.text(string.ascii_letters + string.digits + "-_.=+/%", max_size=400)


@MANY
@given(st.text(max_size=2_000) | TOKENISH)
def test_a_link_that_we_did_not_sign_is_none(text):
    links = Links(b"k" * 32)
    assert isinstance(links.read(text, "art-1", 1_000, uses=True), Denied)


@MANY
@given(st.integers(0, 200), st.characters(min_codepoint=33, max_codepoint=126))
def test_a_link_of_which_one_letter_is_another_is_none(at, letter):
    links = Links(b"k" * 32)
    text = links.made(LINK)
    at %= len(text)
    other = text[:at] + letter + text[at + 1 :]
    found = links.read(other, "art-1", 1_000, uses=True)
    assert found == LINK if other == text else isinstance(found, Denied)


@MANY
@given(st.text(max_size=2_000))
def test_a_file_of_tokens_is_read_or_its_line_is_named(text):
    wrong = ""
    try:
        found = callers_by_digest(text)
    except BadRequestError as error:
        wrong, found = error.message, {}
    assert not wrong or wrong.startswith("line ")
    assert all(isinstance(caller, Caller) for caller in found.values())


@MANY
@given(st.text(max_size=500) | TOKENISH)
def test_any_text_is_reviewed_for_some_audience(text):
    assert audiences_of(text) in {(), ("fodc-proxy",)}


async def never(url):
    raise BadRequestError(f"GET {url}: nobody asks")


@MANY
@given(st.text(max_size=500) | TOKENISH)
def test_a_token_that_no_issuer_signed_is_refused(text):
    issuer = Issuer("https://id.example", "fodc")
    source = OidcCallers(issuer, KeySet(issuer.url, never))
    assert isinstance(asyncio.run(source.caller_of(text)), Denied)


@MANY
@given(
    st.dictionaries(st.sampled_from(["sub", "preferred_username", "roles", "realm_access"]), JSON)
)
def test_claims_of_any_shape_name_a_caller_or_nobody(claims):
    try:
        caller = caller_of_claims(claims, Issuer("https://id.example", "fodc"))
    except BadRequestError:
        return
    assert caller.name.isprintable()


@MANY
@given(st.text(max_size=200))
def test_any_text_is_an_address_or_none_and_a_url_or_none(text):
    assert is_own_machine(text) in {True, False}
    assert wrong_url(text) is None or isinstance(wrong_url(text), str)
