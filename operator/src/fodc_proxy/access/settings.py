# SPDX-License-Identifier: Apache-2.0
"""Settings of access: who may ask over HTTP."""

from dataclasses import dataclass
from typing import Final

from fodc_protocol.errors import OptionError
from fodc_protocol.option_values import Value
from fodc_protocol.options import Kind, Option, Resolved, not_empty
from fodc_proxy.access.audit_log import NONE
from fodc_proxy.access.audit_log import OPTION as AUDIT_OPTION
from fodc_proxy.access.callers import INSECURE_OPTION
from fodc_proxy.access.oidc.claims import DEFAULT_PREFIX, Issuer, wrong_url
from fodc_proxy.access.tokens import OPTION as TOKENS_OPTION

ISSUER_OPTION: Final = "http-oidc-issuer"
AUDIENCE_OPTION: Final = "http-oidc-audience"


def _issuer(name: str, value: Value) -> str | None:
    wrong = wrong_url(value) if isinstance(value, str) and value else None
    return None if wrong is None else f"{name} {wrong}"


OPTIONS: Final = (
    Option(
        TOKENS_OPTION,
        Kind.STRING,
        "",
        "Who may ask over HTTP: a line `name role token` per caller, with the role scraper, "
        "viewer, profiler or admin. Without this and other sources only this machine may.",
        "FILE",
    ),
    Option(
        "http-tls-cert-file",
        Kind.STRING,
        "",
        "Certificate of the HTTP port with what is between it and its authority, PEM; read anew "
        "when it changes. Without it tokens come in the clear.",
        "FILE",
    ),
    Option("http-tls-key-file", Kind.STRING, "", "Key of that certificate, PEM.", "FILE"),
    Option(
        ISSUER_OPTION,
        Kind.STRING,
        "",
        "Issuer of OpenID Connect whose tokens are believed, by its URL as it names itself.",
        "URL",
        check=_issuer,
    ),
    Option(
        AUDIENCE_OPTION,
        Kind.STRING,
        "",
        "For whom the issuer's tokens have to be meant; needed with an issuer.",
        "NAME",
    ),
    Option(
        "http-oidc-roles-claim",
        Kind.STRING,
        "",
        "Claim that names roles, dots lead into objects; empty means roles, realm_access.roles and "
        "resource_access.AUDIENCE.roles.",
        "CLAIM",
    ),
    Option(
        "http-oidc-role-prefix",
        Kind.STRING,
        DEFAULT_PREFIX,
        "What stands before scraper, viewer, profiler or admin in the names of our roles.",
        "TEXT",
    ),
    Option(
        "http-oidc-name-claim",
        Kind.STRING,
        "preferred_username",
        "Claim with the name of a caller; where it is missing sub is.",
        "CLAIM",
        check=not_empty,
    ),
    Option(
        "http-oidc-ca-file",
        Kind.STRING,
        "",
        "Certificates by which the issuer is known; empty means those of the system.",
        "FILE",
    ),
    Option(
        INSECURE_OPTION,
        Kind.BOOL,
        "false",
        "Let everybody who reaches the HTTP port do everything.",
    ),
    Option(
        AUDIT_OPTION,
        Kind.STRING,
        "stdout",
        "Where a line of JSON goes for each change and each artifact that is read: a file, stdout, "
        "stderr or none.",
        "FILE",
        check=not_empty,
    ),
)


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """Who may ask over HTTP."""

    tokens_file: str = ""
    is_insecure: bool = False
    audit_log: str = NONE
    issuer: Issuer | None = None
    issuer_ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""


def access_of(values: Resolved) -> AccessSettings:
    """Return the settings; raises OptionError when values do not fit each other."""
    settings = AccessSettings(
        values.text(TOKENS_OPTION),
        values.flag(INSECURE_OPTION),
        values.text(AUDIT_OPTION),
        _issuer_of(values),
        values.text("http-oidc-ca-file"),
        values.text("http-tls-cert-file"),
        values.text("http-tls-key-file"),
    )
    if bool(settings.certificate_file) is not bool(settings.key_file):
        raise OptionError("--http-tls-cert-file and --http-tls-key-file need each other")
    for name, is_set in ((TOKENS_OPTION, settings.tokens_file), (ISSUER_OPTION, settings.issuer)):
        if settings.is_insecure and is_set:
            raise OptionError(f"--{INSECURE_OPTION} and --{name} exclude each other")
    return settings


def _issuer_of(values: Resolved) -> Issuer | None:
    url, audience = values.text(ISSUER_OPTION), values.text(AUDIENCE_OPTION)
    if bool(url) is not bool(audience):
        raise OptionError(f"--{ISSUER_OPTION} and --{AUDIENCE_OPTION} need each other")
    if not url:
        return None
    return Issuer(
        url,
        audience,
        values.text("http-oidc-roles-claim"),
        values.text("http-oidc-role-prefix"),
        values.text("http-oidc-name-claim"),
    )
