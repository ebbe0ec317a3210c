# SPDX-License-Identifier: Apache-2.0
"""Secrets never leave; harmless values stay readable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_protocol.redaction import (
    Redacted,
    Rule,
    is_secret_name,
    redact_argv,
    redact_environ,
    redact_text,
    redact_value,
)


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "db-password",
        "BYDB_S3_SECRET_KEY",
        "AWS_ACCESS_KEY_ID",
        "apiKey",
        "APIKEY",
        "--auth",
        "token",
        "BYDB_AUTH_TOKEN",
        "postgres-dsn",
        "tls.key",
        "dbpasswd",
        "storageCredentials",
        "session-cookie",
    ],
)
def test_secret_names(name):
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "--auth-config-file",
        "key-file",
        "TLS_KEY_FILE",
        "BYDB_PASSWORD_FILE",
        "schema-server-key-range",
        "token-ttl",
        "secret-dir",
        "keyspace",
        "author",
        "monkey",
        "tokenizer",
        "measure-root-path",
        "node-labels",
        "",
    ],
)
def test_harmless_names(name):
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["--password=hunter2"], ["--password=***"]),
        (["-password=hunter2"], ["-password=***"]),
        (["--password", "hunter2"], ["--password", "***"]),
        (["--password", "-x"], ["--password", "***"]),
        (["--token", "--tls=true"], ["--token", "--tls=true"]),
        (["--auth-config-file=/etc/auth.yaml"], ["--auth-config-file=/etc/auth.yaml"]),
        (["--key-file", "/etc/key.pem"], ["--key-file", "/etc/key.pem"]),
        (["--enable-health-auth=true"], ["--enable-health-auth=true"]),
        (["--node-labels", "type=hot,token=abc"], ["--node-labels", "type=hot,token=***"]),
        (["data", "--grpc-host=127.0.0.1"], ["data", "--grpc-host=127.0.0.1"]),
        (["--etcd=http://a:2379,http://b:2379"], ["--etcd=http://a:2379,http://b:2379"]),
        (["--s3=https://u:p@ss@h:1/b"], ["--s3=https://u:***@h:1/b"]),
        (["--s3=https://u:p/w@h/b"], ["--s3=https://u:***@h/b"]),
    ],
)
def test_arguments_are_shown_without_secrets(argv, shown):
    assert [one.value for one in redact_argv(argv)] == shown


def test_redacted_says_whether_something_was_taken_out():
    assert redact_value("password", "x") == Redacted("***", (Rule.NAME,))
    assert redact_value("password", "") == Redacted("")
    assert redact_value("host", "x") == Redacted("x")
    assert not redact_value("host", "x").redacted


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a password=x", Rule.NAME),
        ("-----BEGIN PRIVATE KEY-----\ncut", Rule.PRIVATE_KEY),
        ("postgres://app:pw@db/x", Rule.ADDRESS),
        ("id AKIAIOSFODNN7EXAMPLE", Rule.TOKEN),
        ("a password%3Dx", Rule.ENCODING),
    ],
)
def test_a_reader_sees_which_rule_masked_what(text, rule):
    assert redact_text(text).rules == (rule,)


def test_environment_is_shown_without_secrets():
    shown = redact_environ(
        {
            "BYDB_S3_SECRET": "x",
            "BYDB_TLS_KEY_FILE": "/a",
            "HOME": "/root",
            "URL": "postgres://app:pw@db/x",
        }
    )
    assert {name: one.value for name, one in shown.items()} == {
        "BYDB_S3_SECRET": "***",
        "BYDB_TLS_KEY_FILE": "/a",
        "HOME": "/root",
        "URL": "postgres://app:***@db/x",
    }


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://host:17913/api?x=a@b", "http://host:17913/api?x=a@b"),
        ("https://ghtoken@host/x", "https://***@host/x"),
        ("redis://:pw@h:6379/0", "redis://:***@h:6379/0"),
        ("host=a user=b password=c dbname=d", "host=a user=b password=*** dbname=d"),
        ('{"apiKey": "abc", "n": 1}', '{"apiKey": "***", "n": 1}'),
        ("Authorization: Bearer abcdefgh.ijk", "Authorization: ***"),
        ("curl -H 'X: bearer abcdefghijkl'", "curl -H 'X: bearer ***'"),
        ("x eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.sig y", "x *** y"),
        ("id AKIAIOSFODNN7EXAMPLE", "id ***"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\nz", "***\nz"),
        ("-----BEGIN PRIVATE KEY-----\ncut", "***"),
        ("127.0.0.1:2121", "127.0.0.1:2121"),
        ("plain text", "plain text"),
    ],
)
def test_text_is_shown_without_what_looks_like_a_secret(text, shown):
    assert redact_text(text).value == shown
    assert redact_text(text).redacted == (shown != text)


words = st.text("abcdefghXYZ0123456789_-", min_size=12, max_size=30).filter(
    lambda text: not text.startswith("-")
)


@given(words, st.sampled_from(["password", "BYDB_SECRET_KEY", "apiToken", "db-credentials"]))
def test_no_form_leaks_the_value_of_a_secret_name(secret, name):
    shown = redact_argv([f"--{name}={secret}", f"--{name}", secret, f"--x={name}={secret}"])
    shown += redact_environ({name: secret}).values()
    shown.append(redact_text(f"failed: {name}={secret}, https://u:{secret}@host/"))
    assert not any(secret in one.value for one in shown)


@given(st.text(max_size=80))
def test_redaction_is_stable(text):
    once = redact_text(text).value
    assert redact_text(once).value == once
