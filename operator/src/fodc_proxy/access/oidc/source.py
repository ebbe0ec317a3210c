# SPDX-License-Identifier: Apache-2.0
"""Callers by tokens that an issuer has signed.

The one idea: the signature is checked with a public key of the issuer and an algorithm from our own
list, so neither `none` nor a shared secret is one, whatever a token says of itself.
"""

from collections.abc import Mapping
from typing import Any, Final

import jwt

from fodc_protocol.errors import BadRequestError
from fodc_proxy.access.answers import Away, Denied
from fodc_proxy.access.callers import Identified
from fodc_proxy.access.oidc.claims import Issuer, caller_of_claims
from fodc_proxy.access.oidc.keys import Key, KeySet

LEEWAY_S: Final = 30
ALGORITHMS: Final = frozenset(
    {
        *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
        *("ES256", "ES384", "ES512", "EdDSA"),
    }
)
_LEAST_RSA_BITS: Final = 2048
_WORDS: Final[Mapping[type[Exception], str]] = {
    jwt.ExpiredSignatureError: "it has expired",
    jwt.ImmatureSignatureError: "it is not valid yet",
    jwt.InvalidAudienceError: "it is meant for another audience",
    jwt.InvalidIssuerError: "it is of another issuer",
    jwt.InvalidSignatureError: "its signature is wrong",
}


class OidcCallers:
    """Callers of one issuer."""

    def __init__(self, issuer: Issuer, keys: KeySet) -> None:
        self._issuer = issuer
        self._keys = keys

    def __str__(self) -> str:
        """Say who may ask, for people."""
        return f"those of {self._issuer.url}"

    @property
    def fault(self) -> str:
        """Why the issuer's keys could not be fetched last."""
        return self._keys.fault

    async def caller_of(self, token: str, peer: str = "") -> Identified:  # noqa: ARG002 - a port
        """Say whose token this is."""
        try:
            header = jwt.get_unverified_header(token)
            told = jwt.decode(token, options={"verify_signature": False})
        except (jwt.PyJWTError, ValueError, RecursionError):
            return Denied(f"it is none of {self._issuer.url}")
        if told.get("iss") != self._issuer.url:
            return Denied(f"it is none of {self._issuer.url}")
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS:
            return Denied("its algorithm is not accepted: must be RS, PS, ES or EdDSA")
        if not isinstance(key_id, str):
            return Denied("it names no key")
        key = await self._keys.key(key_id)
        if isinstance(key, Away):
            return key
        if key is None:
            return Denied(f"{self._issuer.url} has no key of its name")
        return self._verified(token, key, algorithm)

    def _verified(self, token: str, key: Key, algorithm: str) -> Identified:
        try:
            public = jwt.PyJWK(dict(key), algorithm=algorithm)
            if getattr(public.key, "key_size", _LEAST_RSA_BITS) < _least_bits(key):
                return Denied(f"its key has less than {_LEAST_RSA_BITS} bits")
            return caller_of_claims(self._claims(token, public, algorithm), self._issuer)
        except (jwt.PyJWTError, BadRequestError, ArithmeticError, ValueError, TypeError) as error:
            return Denied(_WORDS.get(type(error)) or _said(error))

    def _claims(self, token: str, public: jwt.PyJWK, algorithm: str) -> Mapping[str, Any]:
        return jwt.decode(
            token,
            public,
            algorithms=[algorithm],
            audience=self._issuer.audience,
            issuer=self._issuer.url,
            leeway=LEEWAY_S,
            options={"require": ["exp", "iss", "aud"]},
        )


def _least_bits(key: Key) -> int:
    return _LEAST_RSA_BITS if key.get("kty") == "RSA" else 0


def _said(error: Exception) -> str:
    """Return words without anything of the token, which a library might repeat."""
    if isinstance(error, BadRequestError):
        return error.message
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"it has no claim {error.claim}"
    return "it is not valid"
