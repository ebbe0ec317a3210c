# SPDX-License-Identifier: Apache-2.0
"""Which certificates the webhook has next: a life of many years in steps, each looked at by TLS."""

import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from fodc_webhook import certificates as certs
from fodc_webhook.certificates import Held, Rules, Step

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
SETTLING = 10 * MINUTE
RULES = Rules()
NAMES = certs.names_of("fodc-webhook", "fodc-system", ("127.0.0.1", "other.example"))


def stepped(held: Held, now: datetime, *, expected: Step, names=NAMES) -> Held:
    """What is read back from the Secret after the step that is due."""
    decision = certs.decide(held, names, now, RULES)
    assert decision.step is expected, decision
    return certs.read(certs.carried_out(decision.step, held, names, now, RULES))


def fresh(now: datetime = NOW) -> Held:
    return stepped(Held(), now, expected=Step.START_ANEW)


def test_the_first_certificates_are_as_the_api_server_wants_them() -> None:
    held = fresh()
    leaf, (authority,) = held.leaf, held.authorities

    assert leaf is not None
    assert certs.leaf_fault(held, NAMES, NOW) == ""
    assert authority.not_valid_after_utc == NOW + 3650 * DAY
    assert leaf.not_valid_after_utc == NOW + 90 * DAY
    assert leaf.not_valid_before_utc == NOW - 5 * MINUTE
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(one.value) for one in names] == [
        "fodc-webhook.fodc-system.svc",
        "fodc-webhook.fodc-system.svc.cluster.local",
        "fodc-webhook.fodc-system",
        "127.0.0.1",
        "other.example",
    ]
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.ExtendedKeyUsageOID.SERVER_AUTH]
    assert isinstance(leaf.public_key(), ec.EllipticCurvePublicKey)
    assert certs.decide(held, NAMES, NOW, RULES).step is Step.KEEP


def test_a_leaf_is_renewed_at_two_thirds_of_its_life_by_the_same_ca() -> None:
    held = fresh()
    due = NOW + 60 * DAY
    assert certs.decide(held, NAMES, due - MINUTE, RULES).step is Step.KEEP
    renewed = stepped(held, due, expected=Step.ISSUE_LEAF)

    assert renewed.authorities == held.authorities
    assert renewed.leaf is not None
    assert renewed.leaf.not_valid_after_utc == due + 90 * DAY
    assert certs.decide(renewed, NAMES, due, RULES).step is Step.KEEP


def test_a_ca_is_rotated_in_three_steps_with_time_between_them() -> None:
    held = fresh()
    due = NOW + timedelta(days=3650 * 0.8)
    held = stepped(held, due - DAY, expected=Step.ISSUE_LEAF)
    (old,) = held.authorities

    both = stepped(held, due, expected=Step.ADD_CA)
    assert (len(both.authorities), both.issuer, both.leaf) == (2, old, held.leaf)
    assert certs.decide(both, NAMES, due + SETTLING / 2, RULES).step is Step.KEEP

    switched = stepped(both, due + SETTLING, expected=Step.ISSUE_LEAF)
    assert (len(switched.authorities), switched.issuer) == (2, both.signer)
    assert certs.decide(switched, NAMES, due + 1.5 * SETTLING, RULES).step is Step.KEEP

    alone = stepped(switched, due + 2 * SETTLING, expected=Step.DROP_OLD_CA)
    assert (alone.authorities, alone.leaf) == ((both.signer,), switched.leaf)
    assert certs.decide(alone, NAMES, due + 3 * SETTLING, RULES).step is Step.KEEP


def broken(held: Held, how: str) -> Held:
    other = fresh()
    match how:
        case "no leaf":
            return replace(held, leaf=None)
        case "another key":
            return replace(held, leaf_key=other.leaf_key)
        case "of another CA":
            return replace(held, leaf=other.leaf, leaf_key=other.leaf_key)
    raise AssertionError(how)


@pytest.mark.parametrize("how", ["no leaf", "another key", "of another CA"])
def test_a_leaf_that_cannot_serve_is_replaced_at_once(how: str) -> None:
    mended = stepped(broken(fresh(), how), NOW, expected=Step.ISSUE_LEAF)

    assert certs.leaf_fault(mended, NAMES, NOW) == ""


def test_another_name_of_the_service_makes_another_leaf() -> None:
    held = fresh()
    names = certs.names_of("fodc-webhook", "elsewhere")

    assert certs.leaf_fault(held, names, NOW) == (
        "the certificate lacks the name fodc-webhook.elsewhere"
    )
    assert certs.leaf_fault(
        stepped(held, NOW, expected=Step.ISSUE_LEAF, names=names), names, NOW
    ) == ("")


def test_a_ca_without_its_key_is_followed_by_one_with_a_key_while_its_leaf_serves_on() -> None:
    held = replace(fresh(), authority_key=None)
    both = stepped(held, NOW, expected=Step.ADD_CA)

    assert (both.leaf, both.issuer) == (held.leaf, held.authorities[0])
    assert certs.leaf_fault(both, NAMES, NOW) == ""


def test_what_is_over_is_made_anew_in_one_step() -> None:
    after = NOW + 4000 * DAY
    held = stepped(fresh(), after, expected=Step.START_ANEW)

    assert len(held.authorities) == 1
    assert certs.leaf_fault(held, NAMES, after) == ""


def test_a_clock_that_went_back_makes_new_certificates_rather_than_none() -> None:
    before = NOW - 30 * DAY
    held = stepped(fresh(), before, expected=Step.START_ANEW)

    assert certs.leaf_fault(held, NAMES, before) == ""


def test_a_ca_that_was_lost_again_and_again_leaves_no_trail() -> None:
    held = fresh()
    for _ in range(5):
        held = stepped(replace(held, authority_key=None), NOW, expected=Step.ADD_CA)

    assert len(held.authorities) == 2


@given(
    st.dictionaries(
        st.sampled_from([certs.CA_CERTIFICATE, certs.CA_KEY, certs.LEAF_CERTIFICATE, "tls.key"]),
        st.binary(max_size=80) | st.just(b"-----BEGIN CERTIFICATE-----\nAAAA\n"),
    )
)
def test_rubbish_in_the_secret_is_as_nothing(data: dict[str, bytes]) -> None:
    assert certs.decide(certs.read(data), NAMES, NOW, RULES).step is Step.START_ANEW


# It makes keys, which a busy machine does at its leisure.
@given(st.lists(st.integers(min_value=0, max_value=5_000_000), min_size=1, max_size=12))
def test_at_any_time_whoever_trusts_what_was_published_reaches_what_is_served(
    minutes: list[int],
) -> None:
    """The leaf of before is of a CA in the bundle of after, and the other way round."""
    now, held = NOW, fresh()
    for passed in minutes:
        now += timedelta(minutes=passed % 60_000)
        decision = certs.decide(held, NAMES, now, RULES)
        after = certs.read(certs.carried_out(decision.step, held, NAMES, now, RULES))
        worked = certs.leaf_fault(held, NAMES, now) == ""
        if worked:
            assert held.issuer in after.authorities
            assert after.issuer in held.authorities
        held = after


def test_pythons_tls_takes_the_chain_at_its_strictest(tmp_path: Path) -> None:
    parts = certs.carried_out(Step.START_ANEW, Held(), NAMES, datetime.now(UTC), RULES)
    for name, value in parts.items():
        (tmp_path / name).write_bytes(value)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    client = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    ends = ssl.MemoryBIO(), ssl.MemoryBIO()
    asks = client.wrap_bio(*ends, server_hostname="127.0.0.1")
    answers = server.wrap_bio(*reversed(ends), server_side=True)
    for _ in range(4):
        for end in (asks, answers):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue

    assert asks.version() == "TLSv1.3"


def test_parts_that_are_no_base64_are_left_out() -> None:
    assert certs.decoded({"a": "YWI=", "b": "%%%"}) == {"a": b"ab"}
    assert certs.decoded(None) == {}
