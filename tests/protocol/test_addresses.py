# SPDX-License-Identifier: Apache-2.0
"""Host and port in every form that people write."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_protocol.addresses import Address, AddressError, parse_endpoint, parse_listen_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":9090", Address("", 9090)),
        ("localhost:1", Address("localhost", 1)),
        ("[::1]:0", Address("::1", 0)),
        ("[fe80::1%eth0]:80", Address("fe80::1%eth0", 80)),
        ("0.0.0.0:0", Address("0.0.0.0", 0)),
        ("[::]:17912", Address("::", 17912)),
        (" a:1 ", Address("a", 1)),
    ],
)
def test_listen_addresses_are_read_with_brackets_too(text, address):
    """P21: of [::1]:0 the brackets were lost on the way to the listener."""
    assert parse_listen_address(text) == address
    assert str(address) == text.strip()


@pytest.mark.parametrize(
    "text",
    f"""9090 host host: host:x ::1:9090 h:70000 h:-1 [x]:1 [1]:1 u@h:1 a..b:1 h:٣ [::1:9090
    ::1]:9090 dns:///h:1 http://h:1 h:000001 {"h" * 300}:1""".split(),
)
def test_a_malformed_listen_address_is_refused_with_the_form(text):
    refused(text)


@pytest.mark.parametrize("text", ["", "h:1 2", "a b:1"])
def test_a_listen_address_with_blanks_or_nothing_is_refused(text):
    refused(text)


def refused(text):
    with pytest.raises(AddressError, match=r"must be an address such as :9090, localhost:9090"):
        parse_listen_address(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("fodc-proxy:17912", Address("fodc-proxy", 17912)),
        ("dns:///fodc-proxy.fodc.svc.:17912", Address("fodc-proxy.fodc.svc.", 17912)),
        ("dns:///[fd00::1]:17912", Address("fd00::1", 17912)),
        ("my_host:1", Address("my_host", 1)),
    ],
)
def test_endpoints_are_understood_as_grpc_writes_them(text, address):
    """A23: dns:///x was taken for a host name and failed for ever."""
    assert parse_endpoint(text) == address


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("proxy", "got 'proxy'"),
        (":17912", "got no host in ':17912'"),
        ("proxy:0", "got port 0 in 'proxy:0'"),
        ("::1:17912", "got '::1:17912'; write IPv6 in brackets"),
        ("dns:///proxy", "got 'dns:///proxy'"),
        ("http://proxy:17912/", "got the URL 'http://proxy:17912/'; write proxy:17912"),
        ("https://u:hunter2@proxy:1", "got the URL 'https://u:***@proxy:1'; write proxy:1"),
        ("https://proxy", "got the URL 'https://proxy'"),
        ("dns://1.1.1.1/proxy:17912", "got the URL 'dns://1.1.1.1/proxy:17912'"),
        ("unix:///run/x.sock", "got the URL 'unix:///run/x.sock'"),
    ],
)
def test_what_is_no_endpoint_is_refused_at_the_start_and_says_what_to_write(text, got):
    """A23: a URL was taken for a host name and failed for ever."""
    with pytest.raises(AddressError) as caught:
        parse_endpoint(text)
    assert str(caught.value).startswith("must be host:port, such as fodc-proxy:17912")
    assert str(caught.value).endswith(got)


@given(st.text(max_size=60))
def test_any_text_is_an_address_that_prints_as_itself_or_a_typed_error(text):
    with contextlib.suppress(AddressError):
        address = parse_listen_address(text)
        assert parse_listen_address(str(address)) == address
        assert 0 <= address.port <= 65_535
    with contextlib.suppress(AddressError):
        assert parse_endpoint(text).host
