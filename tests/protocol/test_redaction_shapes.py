# SPDX-License-Identifier: Apache-2.0
"""Every shape in which a secret was once seen, what was masked without need, and the cost."""

import base64
import json
import time
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fodc_protocol.redaction import (
    is_secret_name,
    redact_argv,
    redact_foreign,
    redact_text,
    redact_value,
)

S = "Zq7hunter2xW"  # The secret of this file: no shape of its own gives it away.


def shown_argv(*argv):
    return [one.value for one in redact_argv(argv)]


# ---- arguments ------------------------------------------------------------------------------

SECRET_NAMES = (
    "password",
    "passwd",
    "pwd",
    "pw",
    "pass",
    "passphrase",
    "passphrase-mode",
    "passcode",
    "pin",
    "otp",
    "hmac",
    "sig",
    "psk",
    "jwt",
    "auth",
    "auth-header",
    "authorization",
    "token",
    "access-token",
    "api-key",
    "apikey",
    "secret",
    "client-secret",
    "session-id",
    "session_id",
    "cookie",
    "dsn",
    "credentials",
    "private-key",
    "tls-key",
    "encryption-key",
    "password-length",
    "token-ttl",
    "key",
    "secret-mode",
    "webhook-token",
    "s3-secret-access-key",
)
ARGUMENTS = [
    *[[f"--{name}={S}"] for name in SECRET_NAMES],
    ["-p", S],
    ["-p", f"-{S}"],
    [f"-password={S}"],
    ["-password", S],
    ["--pw", S],
    ["--pin", S],
    ["--otp", S],
    ["--session-id", S],
    ["--hmac", S],
    ["--password", f"-{S}"],
    ["--password", f"--{S}"],
    [f"--password:{S}"],
    [f"--user=admin:{S}"],
    ["--user", f"admin:{S}"],
    ["-u", f"admin:{S}"],
    [f"--db=u:{S}@tcp(h:3306)/db"],
    [f"u:{S}@tcp(h)/db"],
    [f"u:{S}@unix(/run/x.sock)/db"],
    [f"admin:{S}@db:5432/x"],
    [f"--url=https://h/x?sig={S}&se=1"],
    [f"https://h/x?a=1&X-Amz-Signature={S}"],
    [f"https://h/api?code={S}"],
    [f"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={S}"],
    [f"https://oapi.dingtalk.com/robot/send?access_token={S}"],
    [f"--hook=https://hooks.slack.com/services/T01234567/B01234567/{S}"],
    [f"https://discord.com/api/webhooks/123456/{S}"],
    [f"https://api.telegram.org/bot12345:{S}/sendMessage"],
    [f"https://x.webhook.office.com/webhookb2/{S}"],
    [f"https://open.feishu.cn/open-apis/bot/v2/hook/{S}"],
    [f"https://chat.example.org/hooks/{S}"],
    [f"postgres://u:{S}@h/x"],
    [f"postgres://u:{S}/w@h/x"],
    [f"postgres://u:a'{S}@h/x"],
    [f"postgres://u:a://{S}@h/x"],
    [f"redis://:{S}@h:6379/0"],
    [f"https://{S}@github.com/x"],
    [f"--config=password={S}"],
    [f"--config=password%3D{S}"],
    [f"https://h/?q=token%253D{S}"],
    [f"https://h/?next=postgres%3A%2F%2Fu%3A{S}%40h"],
    [f"--header=Authorization: Token {S}"],
    ["-H", f"X-Api-Key: {S}"],
    ["--env", f"DB_PASSWORD={S}"],
    [json.dumps({"a": {"password": S}})],
    [json.dumps({"a": json.dumps({"password": S})})],
    [json.dumps({"a": json.dumps({"b": json.dumps({"password": f'x"{S}'})})})],
]


@pytest.mark.parametrize("argv", ARGUMENTS, ids=lambda argv: " ".join(argv)[:60])
def test_no_shape_of_arguments_shows_its_secret(argv):
    """A7, A30: shapes that showed the secret, by name, by place or by encoding."""
    assert not any(S in value for value in shown_argv(*argv)), shown_argv(*argv)
    assert S not in redact_text(" ".join(argv)).value


TOKENS = {
    "github": "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "github, fine": "github_pat_11ABCDEFG0abcdefghijkl_mnopqrstuvwxyz0123456789ABCDEFGHI",
    "gitlab": "glpat-xYz1aBcD2eFgH3iJkLmN",
    "slack": "xoxb-2222222222-3333333333-abcdefABCDEF123456789012",
    "openai": "sk-proj-abcDEF123456ghiJKL7890mnopqr",
    "google": "AIzaSyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q",
    "aws id": "AKIAIOSFODNN7EXAMPLE",
    "aws secret": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "stripe": "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
    "base64 of a login": base64.b64encode(b"admin:Zq7hunter2").decode(),
    "base64 of a pair": base64.b64encode(b"password=Zq7hunter2").decode(),
    "base64 of base64": base64.b64encode(base64.b64encode(b"admin:Zq7hunter2")).decode(),
}


FORMS = ["{}", "--value={}", "got {}, gave up", '{{"a":"{}"}}', "({})"]
PATHS = ["https://h/{}/x", "a/{}?b"]
# 40 characters of base64 inside a path cannot be told from the path.
PLACES = [(name, form) for name in TOKENS for form in FORMS + PATHS]
PLACES = [one for one in PLACES if one not in [("aws secret", path) for path in PATHS]]


@pytest.mark.parametrize(("name", "form"), PLACES)
def test_tokens_with_a_known_shape_are_masked_wherever_they_stand(name, form):
    """A30: bare tokens of clouds, forges and chats, and encoded logins."""
    assert TOKENS[name] not in redact_text(form.format(TOKENS[name])).value


# ---- texts ----------------------------------------------------------------------------------

TEXTS = [
    f"Authorization: Token {S}",
    f'Authorization: Digest username="u", realm="r", response="{S}"',
    f"proxy-authorization: Basic {S}\nHost: h",
    f"Cookie: a=1; session={S}",
    f"Set-Cookie: sid={S}; HttpOnly",
    f"curl -H 'Authorization: Token {S}' http://h",
    f'curl -H "X-Vault-Token: {S}" http://h',
    f"map[Authorization:[Token {S}] Accept:[*/*]]",
    f'{{"password":"a\\"{S}"}}',
    f'{{"password": "a\\\\\\"{S}", "n": 1}}',
    f'{{"msg":"{{\\"password\\":\\"a\\\\\\"{S}\\"}}"}}',
    f'{{"passwords":["a","{S}"]}}',
    f'{{"credentials":{{"user":"a","code":"{S}"}}}}',
    f'{{"password":"never closed {S}',
    f"password:\n  {S}\nhost: h",
    f"password: |\n  line\n  {S}\nhost: h",
    f"password: >-  # folded\n  {S}\nhost: h",
    f"secrets:\n- a\n- {S}\nhost: h",
    f"secrets:\n  db:\n    main: {S}\nhost: h",
    f"auth:\n  enabled: true\n  password: {S}\n",
    f"db:\n  passphrase: correct horse {S}\n",
    f"  - token: {S}",
    f"password = correct horse {S}",
    f'password := "{S}"',
    f"password='it''s {S}'",
    f"host=a password=x,{S} dbname=d",
    f"host=a password=x;{S}",
    f"type=hot,token={S},zone=b",
    f"run: banyand --password {S} data",
    f"run: banyand --password '{S} x' data",
    f'["banyand", "--password", "{S}", "data"]',
    f'["banyand","--password","{S}"]',
    f'{{"args":"[\\"--password\\",\\"{S}\\"]"}}',
    f"mysql -u root -p {S}",
    f"bearer {S}",
    f"dial u:{S}@tcp(db:3306)/x: refused",
    f"-----BEGIN OPENSSH PRIVATE KEY-----\n{S}\n-----END OPENSSH PRIVATE KEY-----",
    f"key: -----BEGIN EC PRIVATE KEY-----\\n{S}\\n-----END EC PRIVATE KEY-----\\n",
    f'{{"u":"https://h/?a=1\\u0026token={S}"}}',
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_no_text_shows_its_secret(text):
    """A7, A30: headers, escaped quotes, nested JSON, YAML below its key, command lines in logs."""
    assert S not in redact_text(text).value
    assert S not in redact_foreign(text)


def test_what_stands_beside_a_secret_stays_readable():
    assert redact_text(f"password:\n  {S}\nhost: h").value == "password:\n  ***\nhost: h"
    assert redact_text(f'{{"password":"a\\"{S}","n":1}}').value == '{"password":"***","n":1}'
    assert redact_text(f"type=hot,token={S},zone=b").value == "type=hot,token=***,zone=b"
    assert redact_text(f'{{"n":1,"pin":{S}}}').value == '{"n":1,"pin":***}'
    assert redact_text(f"curl -H 'Cookie: {S}' http://h").value == "curl -H 'Cookie: ***' http://h"
    assert redact_text(f"auth:\n  enabled: true\n  pw: {S}").value == (
        "auth:\n  enabled: true\n  pw: ***"
    )


# ---- masked without need --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("key-prefix", "banyandb/"),
        ("primary-key", "id"),
        ("etcd-key-cache", "on"),
        ("password-policy", "strict"),
        ("sort-keys", "name"),
        ("max-tokens", "4096"),
        ("tokens-per-second", "12.5"),
        ("cookie-name", "JSESSIONID"),
        ("token-ttl", "10m"),
        ("password-min-length", "12"),
        ("schema-server-key-range", "a-z"),
        ("auth-mode", "basic"),
        ("tls-key-file", "/etc/tls/key.pem"),
        ("token-url", "https://issuer.example.org/oauth2"),
        ("public-key", "ssh-ed25519"),
        ("user", "admin"),
        ("image", "registry.example.org/a/b:v1@sha256:0123456789abcdef"),
        ("etcd-endpoints", "http://etcd-0:2379,http://[::1]:2379"),
        ("path", "/var/lib/banyandb/measure/disk-usage-percent-limits-of-2024"),
        ("commit", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        ("uid", "7b0e4a3e-4f57-4f0b-9b3a-3c1d7a0f1f5e"),
        ("created", "2026-11-21T17:52:17+00:00"),
    ],
)
def test_names_and_values_that_hide_nothing_stay_readable(name, value):
    """A30: what was masked without need."""
    assert shown_argv(f"--{name}={value}") == [f"--{name}={value}"]
    assert shown_argv(f"--{name}", value) == [f"--{name}", value]
    assert redact_text(f"{name}={value}").value == f"{name}={value}"
    assert redact_text(json.dumps({name: value})).value == json.dumps({name: value})
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "text",
    [
        "basic authentication failed",
        "bearer authentication required",
        "heap profile: 1: 2 [3: 4] @ heap/1048576",
        "Could not enable CPU profiling: cpu profiling already in use",
        "GET http://127.0.0.1:6060/debug/pprof/heap?gc=1: HTTP 500",
        "dial tcp 127.0.0.1:6060: connect: connection refused",
        "task-runner-with-a-long-name-2024 is gone",
        "sent to someone@example.org at 12:30",
        "goroutine 1 [running]:\n\tmain.main()\n\t\t/src/main.go:12 +0x1d",
        'rate(banyandb_liaison_grpc_total{group="a",key="b"}[5m]) 100%',
    ],
)
def test_ordinary_texts_are_not_touched(text):
    changed = redact_text(text).value
    assert changed.replace('key="***"', 'key="b"') == text


# ---- a property over generated shapes -------------------------------------------------------

secrets = st.text("abcXYZ019_+/=!$^~.", min_size=8, max_size=20).filter(
    lambda text: text[0] not in "=~./" and not text.endswith("=")
)
names = st.sampled_from(
    ["password", "DB_PASSWORD", "apiToken", "x.secret", "client-secret", "pin", "tls-key", "cookie"]
)
quoted_forms = ['{n}="{s}"', "{n}='{s}'", '"{n}": "{s}"', '{{"{n}":"{s}"}}', "'{n}': '{s}'"]
bare_forms = ["{n}={s}", "{n}: {s}", "--{n} {s}", "--{n}={s}", "{n} = {s}", "{n}:\n    {s}\n"]
befores = st.sampled_from(["", "error: ", "a=1 ", "[INFO] x, ", '{"k":1} ', "?a=b&", "\n", "- "])
afters = st.sampled_from(["", " next=1", "\nhost: h", " failed", ', "b": 2', "\n  - x"])


def in_json(text, depth):
    for _ in range(depth):
        text = json.dumps({"text": text})
    return text


@given(
    names, secrets, st.sampled_from(quoted_forms + bare_forms), befores, afters, st.integers(0, 3)
)
def test_no_generated_shape_shows_its_secret(name, secret, form, before, after, depth):
    """A7: the same code for arguments, files, nested JSON and log lines."""
    text = in_json(before + form.format(n=name, s=secret) + after, depth)
    assert secret not in redact_text(text).value


@given(names, secrets, st.integers(1, 3))
def test_no_percent_encoding_shows_its_secret(name, secret, times):
    text = f"{name}={secret}"
    for _ in range(times):
        text = quote(text, safe="")
    assert secret not in redact_text(text).value
    assert quote(secret, safe="") not in redact_text(text).value


@given(names, secrets)
def test_no_base64_shows_its_secret(name, secret):
    word = base64.b64encode(f"{name}={secret}".encode()).decode()
    assert word not in redact_text(f"got {word} there").value


@given(
    secrets,
    st.sampled_from(["postgres", "https", "amqp+ssl"]),
    st.sampled_from(["/db", "", ":1/x?a=b"]),
)
def test_no_address_shows_its_password(secret, scheme, rest):
    """Only digits before a slash are left: they are a port as RFC 3986 reads it."""
    assume(not secret.partition("/")[0].isdecimal() or "/" not in secret)
    assert secret not in redact_text(f"dial {scheme}://u:{secret}@host{rest} failed").value


# ---- the cost -------------------------------------------------------------------------------

EVIL = {
    "addresses without an end": "://a:b",
    "addresses with ats": "://a:b@",
    "one long word": "a",
    "one long upper word": "A",
    "digits": "7",
    "double quotes": '"',
    "single quotes": "'",
    "backslashes": "\\",
    "escaped quotes": '\\"',
    "separators": "=",
    "colons": ":",
    "ats": "@",
    "dashes": "-",
    "flags": "-p ",
    "blanks": " ",
    "newlines": "\n",
    "blanks and newlines": " \n",
    "commas": ",",
    "commas and words": ",a",
    "percents": "%3D",
    "percents of percents": "%25",
    "pairs": "password=a,",
    "pairs without a value": "password=",
    "switches": "password=0 ",
    "open quotes": 'password="',
    "open quotes of two kinds": "password=\"pin='",
    "open brackets": "password=[",
    "brackets": "[{",
    "logins": "user=",
    "logins with colons": "user=a:",
    "urls of tokens": "token-url=https://",
    "headers": "'Authorization: x' ",
    "headers on lines": "Authorization: \n",
    "sections": "auth:\n- ",
    "sections in braces": '{"auth":',
    "blocks": "password:\n",
    "blocks of items": "- password:\n",
    "keys": "-----BEGIN PRIVATE KEY-----",
    "key beginnings": "-----BEGIN ",
    "jwt beginnings": "eyJ-",
    "jwt pieces": "eyJabcdefgh.",
    "bearers": "bearer ",
    "bearers with blanks": "bearer" + " " * 40,
    "token beginnings": "ghp_",
    "hooks": "://h/hooks",
    "base64": "YWRtaW46",
    "bots": "://h/bot1",
}


def cost_s(piece, length):
    """Return the processor time of this thread for `length` characters of repeated `piece`."""
    text = (piece * (length // len(piece) + 1))[:length]
    began_s = time.thread_time()
    redact_text(text)
    return time.thread_time() - began_s


@pytest.mark.parametrize("piece", EVIL.values(), ids=EVIL.keys())
def test_no_shape_makes_the_work_grow_faster_than_the_length(piece):
    """A7: 128 KiB cost 0.1 to 0.4 s; work that grows with the square costs ten and more.

    Every scanner steps over what it has masked, and leaves only what is short by its pattern, so
    that no place is looked at more often than a constant number of times.
    """
    assert cost_s(piece, 128 << 10) < 5


@pytest.mark.parametrize(
    "piece",
    ["://a:b", "x://u:p@", "a", '"', '\\"', "password=", 'password="', "auth:\n- "],
)
def test_a_megabyte_of_the_worst_is_done_in_seconds(piece):
    """A7: one long word took 13 s, and `://a:b` would have taken ten minutes."""
    assert cost_s(piece, 1 << 20) < 12


# ---- texts of others ------------------------------------------------------------------------


def test_text_of_a_node_becomes_one_short_line_without_secrets():
    """A29: an error body with credentials reached the log, /readyz and /cluster in clear."""
    body = b"boom\r\n\x1b[31mpostgres://u:secret@h/x   password=hunter2\xff" + b" tail" * 1000
    line = redact_foreign(body, 80)
    assert line.startswith("boom [31mpostgres://u:***@h/x password=***")
    assert len(line) == 80
    assert line.endswith("…")


def test_a_secret_at_the_place_of_the_cut_is_masked_before_the_cut():
    assert redact_foreign("x" * 190 + " password=" + S, 200).endswith("password…")
    assert S[:3] not in redact_foreign("password=" + S, 12)


def test_redact_value_masks_only_the_password_of_a_login():
    assert redact_value("user", f"admin:{S}").value == "admin:***"
