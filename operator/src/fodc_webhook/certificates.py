# SPDX-License-Identifier: Apache-2.0
"""Which certificates the webhook should have next, given what there is and the time.

The one idea: everything that a decision needs stands in the certificates themselves, so a new
leader goes on where the old one was. A new CA is first trusted beside the old one, then the leaf
is issued by it, then the old one is dropped; between the steps everybody has time to read.
"""

import base64
import binascii
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeAlias, assert_never

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fodc_tls.parts import LEAF_CERTIFICATE, LEAF_KEY

CA_CERTIFICATE: Final = "ca.crt"
CA_KEY: Final = "ca.key"
SKEW: Final = timedelta(minutes=5)
"""Certificates begin so long before they are made: clocks differ."""
_PEM: Final = serialization.Encoding.PEM

Name: TypeAlias = x509.DNSName | x509.IPAddress
Key: TypeAlias = ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Rules:
    """Lengths of life, and how long between two steps of a rotation."""

    ca_life: timedelta = timedelta(days=3650)
    ca_rotated_after: float = 0.8
    """Part of its life after which a CA gets a successor."""
    leaf_life: timedelta = timedelta(days=90)
    leaf_renewed_after: float = 2 / 3
    settling: timedelta = timedelta(minutes=10)
    """By then every replica and API server has read what was written, and every kubelet has brought
    the ConfigMap with the CAs into the pods of agents."""


class Step(StrEnum):
    """What is to be done; one at a time."""

    KEEP = "Keep"
    START_ANEW = "StartAnew"
    """New CA and leaf at once: what there is serves nobody any more."""
    ADD_CA = "AddCA"
    """A new CA beside the old one; the leaf stays."""
    ISSUE_LEAF = "IssueLeaf"
    DROP_OLD_CA = "DropOldCA"


@dataclass(frozen=True, slots=True)
class Decision:
    """A step and why, in words for the log."""

    step: Step
    reason: str
    needs_trust: bool = False
    """Only once the API server has been told of the CAs that are held now."""


@dataclass(frozen=True, slots=True)
class Held:
    """What can be read of a Secret; what cannot is as if it were not there."""

    authorities: tuple[x509.Certificate, ...] = ()
    authority_key: Key | None = None
    leaf: x509.Certificate | None = None
    leaf_key: Key | None = None

    @property
    def signer(self) -> x509.Certificate | None:
        """The CA whose key is here."""
        if self.authority_key is None:
            return None
        wanted = self.authority_key.public_key()
        return next((one for one in self.authorities if one.public_key() == wanted), None)

    @property
    def issuer(self) -> x509.Certificate | None:
        """The CA that signed the leaf."""
        leaf = self.leaf
        if leaf is None:
            return None
        return next((one for one in self.authorities if _issued(leaf, one)), None)


def read(data: Mapping[str, bytes]) -> Held:
    """Read the parts of a Secret."""
    return Held(
        _certificates(data.get(CA_CERTIFICATE, b"")),
        _key(data.get(CA_KEY, b"")),
        next(iter(_certificates(data.get(LEAF_CERTIFICATE, b""))), None),
        _key(data.get(LEAF_KEY, b"")),
    )


def decoded(data: Mapping[str, str] | None) -> dict[str, bytes]:
    """Return the parts of a Secret as bytes; what is no base64 is left out."""
    found = {}
    for name, text in (data or {}).items():
        try:
            found[name] = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            continue
    return found


def names_of(service: str, namespace: str, extra: Sequence[str] = ()) -> tuple[Name, ...]:
    """Return by which names a Service is called; an extra that is an address is one."""
    short = f"{service}.{namespace}"
    hosts = (f"{short}.svc", f"{short}.svc.cluster.local", short)
    return tuple(_name(one) for one in (*hosts, *extra))


# ---- deciding -----------------------------------------------------------------------------------


def decide(held: Held, names: Sequence[Name], now: datetime, rules: Rules) -> Decision:
    """Return what to do next; `now` is in UTC."""
    signer = held.signer
    fault = leaf_fault(held, names, now)
    if signer is None or not _is_valid(signer, now):
        why = "there is no CA with a key" if signer is None else "the CA is not valid now"
        # A leaf that works is not cut off from those who trust its CA.
        return Decision(Step.START_ANEW if fault else Step.ADD_CA, why)
    if now >= _part_of_life(signer, rules.ca_rotated_after):
        return Decision(Step.ADD_CA, f"the CA ends on {signer.not_valid_after_utc:%Y-%m-%d}")
    if fault:
        return Decision(Step.ISSUE_LEAF, fault)
    return _of_a_working_leaf(held, signer, now, rules)


def _of_a_working_leaf(
    held: Held, signer: x509.Certificate, now: datetime, rules: Rules
) -> Decision:
    leaf = held.leaf
    assert leaf is not None, "a leaf without a fault is there"
    if not _issued(leaf, signer):
        if now < _made_at(signer) + rules.settling:
            return Decision(Step.KEEP, "the new CA is being read by everybody")
        return Decision(Step.ISSUE_LEAF, "everybody trusts the new CA", needs_trust=True)
    if now >= _part_of_life(leaf, rules.leaf_renewed_after):
        return Decision(Step.ISSUE_LEAF, f"it ends on {leaf.not_valid_after_utc:%Y-%m-%d}")
    if len(held.authorities) > 1 and now >= _made_at(leaf) + rules.settling:
        why = "nobody serves a leaf of the old CA any more"
        return Decision(Step.DROP_OLD_CA, why, needs_trust=True)
    return Decision(Step.KEEP, "")


def leaf_fault(held: Held, names: Sequence[Name], now: datetime) -> str:
    """Return why the leaf cannot serve, empty when it can."""
    leaf, key = held.leaf, held.leaf_key
    if leaf is None or key is None:
        return "there is no certificate with a key"
    if leaf.public_key() != key.public_key():
        return "certificate and key do not belong together"
    if not _is_valid(leaf, now):
        return f"the certificate is valid until {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} only"
    if held.issuer is None or not _is_valid(held.issuer, now):
        return "the certificate is of no CA that is trusted"
    missing = sorted(str(one.value) for one in set(names) - set(_names_in(leaf)))
    return f"the certificate lacks the name {missing[0]}" if missing else ""


# ---- carrying out -------------------------------------------------------------------------------


def carried_out(
    step: Step, held: Held, names: Sequence[Name], now: datetime, rules: Rules
) -> dict[str, bytes]:
    """Return the parts that the Secret should have after the step; all of them."""
    match step:
        case Step.KEEP:
            return _parts(held)
        case Step.START_ANEW:
            return _parts(_with_leaf(_with_authority(Held(), now, rules), names, now, rules))
        case Step.ADD_CA:
            return _parts(_with_authority(held, now, rules))
        case Step.ISSUE_LEAF:
            return _parts(_with_leaf(held, names, now, rules))
        case Step.DROP_OLD_CA:
            signer = held.signer
            assert signer is not None, "only who can sign drops another"
            return _parts(Held((signer,), held.authority_key, held.leaf, held.leaf_key))
        case _:
            assert_never(step)


def _with_authority(held: Held, now: datetime, rules: Rules) -> Held:
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # Distinct names: two CAs of one name are confused by whoever looks them up by name.
    subject = _subject(f"fodc-webhook-ca-{serial:040x}"[:40])
    usage = _usage(signs_certificates=True)
    made = (
        _builder(subject, subject, key, now, now + rules.ca_life)
        .serial_number(serial)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    # Of those before only the one that signed the leaf is of use to anybody.
    kept = (held.issuer,) if held.issuer is not None else ()
    return Held((made, *kept), key, held.leaf, held.leaf_key)


def _with_leaf(held: Held, names: Sequence[Name], now: datetime, rules: Rules) -> Held:
    signer, signing = held.signer, held.authority_key
    assert signer is not None, "a leaf is issued by a CA with a key"
    assert signing is not None, "a leaf is issued by a CA with a key"
    key = ec.generate_private_key(ec.SECP256R1())
    ends = min(now + rules.leaf_life, signer.not_valid_after_utc)
    subject = _subject(str(names[0].value)[:64])
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key())
    made = (
        _builder(subject, signer.subject, key, now, ends)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(list(names)), critical=False)
        .add_extension(authority, critical=False)
        .sign(signing, hashes.SHA256())
    )
    return Held(held.authorities, signing, made, key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, now: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .not_valid_before(now - SKEW)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


# ---- reading and writing certificates -----------------------------------------------------------


def _certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificates(pem)) if pem else ()
    except ValueError:
        return ()


def _key(pem: bytes) -> Key | None:
    try:
        found = serialization.load_pem_private_key(pem, None) if pem else None
    except (ValueError, TypeError):
        return None
    return found if isinstance(found, ec.EllipticCurvePrivateKey) else None


def _parts(held: Held) -> dict[str, bytes]:
    authorities = b"".join(one.public_bytes(_PEM) for one in held.authorities)
    leaf = b"" if held.leaf is None else held.leaf.public_bytes(_PEM)
    return {
        CA_CERTIFICATE: authorities,
        CA_KEY: _written(held.authority_key),
        LEAF_CERTIFICATE: leaf,
        LEAF_KEY: _written(held.leaf_key),
    }


def _written(key: Key | None) -> bytes:
    if key is None:
        return b""
    plain = serialization.NoEncryption()
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, plain)


def _name(text: str) -> Name:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _names_in(leaf: x509.Certificate) -> Sequence[x509.GeneralName]:
    try:
        return list(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except (x509.ExtensionNotFound, ValueError):
        return []


def _issued(leaf: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _is_valid(one: x509.Certificate, now: datetime) -> bool:
    return one.not_valid_before_utc <= now < one.not_valid_after_utc


def _made_at(one: x509.Certificate) -> datetime:
    return one.not_valid_before_utc + SKEW


def _part_of_life(one: x509.Certificate, part: float) -> datetime:
    made = _made_at(one)
    return made + (one.not_valid_after_utc - made) * part
