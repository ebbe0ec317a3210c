# SPDX-License-Identifier: Apache-2.0
"""OpenSSL is memory: it is there for those who need it, and for nobody else."""

import hashlib
import http.client
import json
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import trustme

from fodc_proxy import doors

from .test_program import FREE, program


def libraries(pid: int) -> set[str]:
    maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
    return {name for name in ("libssl", "libcrypto", "_ssl.", "_hashlib.") if name in maps}


def test_a_proxy_without_tls_keeps_no_openssl_in_memory_and_answers_its_pages(tmp_path):
    with program(*FREE, f"--data-dir={tmp_path}") as child:
        address = json.loads(child.stdout.readline())["http"]
        for path in ("/metrics", "/openapi.json"):
            connection = http.client.HTTPConnection(address, timeout=10)
            connection.request("GET", path)
            assert connection.getresponse().status == 200
            connection.close()

        assert libraries(child.pid) == set()


def test_a_proxy_with_certificates_speaks_tls_on_both_ports(tmp_path):
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    files = [
        f"--{port}-tls-{part}-file={path}"
        for port in ("grpc", "http")
        for part, path in (("cert", certificate), ("key", key))
    ]
    client = ssl.create_default_context()
    authority.configure_trust(client)
    client.set_alpn_protocols(["h2"])

    with program(*FREE, *files, f"--data-dir={tmp_path / 'data'}") as child:
        addresses = json.loads(child.stdout.readline())
        connection = http.client.HTTPSConnection(addresses["http"], timeout=10, context=client)
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
        connection.close()
        host, _, port = addresses["grpc"].rpartition(":")
        with (
            socket.create_connection((host, int(port)), timeout=10) as plain,
            client.wrap_socket(plain, server_hostname="127.0.0.1") as sealed,
        ):
            spoken = sealed.selected_alpn_protocol()

    assert (status, spoken) == (200, "h2")


def test_settings_are_read_before_anything_looks_for_ssl():
    """Else asyncio would miss it for good although a certificate was given."""
    code = "import sys; import fodc_proxy.__main__; print('asyncio' in sys.modules)"

    listed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )

    assert listed.stdout == "False\n"


def test_a_program_that_embeds_the_proxy_keeps_its_openssl():
    code = "import ssl; from fodc_proxy import doors; doors.shut(); import ssl; print(ssl.__name__)"

    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )

    assert told.stdout == "ssl\n"


def test_a_digest_of_an_artifact_opens_its_door_from_any_thread(monkeypatch):
    monkeypatch.setitem(sys.modules, "_hashlib", None)
    found = []

    def digest() -> None:
        made = doors.sha256()
        made.update(b"artifact")
        found.append(made.hexdigest())

    threads = [threading.Thread(target=digest) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [hashlib.sha256(b"artifact").hexdigest()] * 8
