# SPDX-License-Identifier: Apache-2.0
"""TLS and credentials of the node's own ports, over real sockets: HTTP and gRPC."""

import asyncio
import base64
import ssl

import grpc
import grpc.aio
import pytest
import trustme

from fodc_agent.identity import codec
from fodc_agent.identity.discovery import ask_node
from fodc_agent.node_access import NodeAccess
from fodc_agent.node_agent import access_of
from fodc_agent.rpc.faults import RpcError
from fodc_agent.scraping.client import HttpClient
from fodc_agent.scraping.faults import FetchError
from fodc_agent.settings import load
from fodc_protocol.errors import OptionError
from fodc_wire.banyandb.database.v1 import database_pb2, rpc_pb2

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nup 1\n"
BASIC = "Basic " + base64.b64encode(b"fodc:s3cret").decode()


class Node:
    """A database's ports with TLS; remembers what it was shown."""

    def __init__(self, folder):
        self.authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca))
        self.issued = self.authority.issue_cert("node.example")
        self.seen = []

    async def __aenter__(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.issued.configure_cert(context)
        self.http = await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=context)
        self.http_port = self.http.sockets[0].getsockname()[1]
        pair = (self.issued.private_key_pem.bytes(), self.issued.cert_chain_pems[0].bytes())
        self.grpc = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        handler = grpc.unary_unary_rpc_method_handler(self._current)
        service, _, method = codec.GET_CURRENT_NODE[1:].partition("/")
        generic = grpc.method_handlers_generic_handler(service, {method: handler})
        self.grpc.add_generic_rpc_handlers((generic,))
        credentials = grpc.ssl_server_credentials([pair])
        self.grpc_port = self.grpc.add_secure_port("127.0.0.1:0", credentials)
        await self.grpc.start()
        return self

    async def __aexit__(self, *_):
        await self.grpc.stop(0)
        self.http.close()
        await self.http.wait_closed()
        await asyncio.sleep(0.05)  # transports of TLS close in a later turn of the loop

    async def _answer(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self.seen += [line for line in lines if line.lower().startswith("authorization")]
        writer.write(OK)
        await writer.drain()
        writer.close()

    async def _current(self, _request, context):
        metadata = dict(context.invocation_metadata())
        self.seen.append((metadata.get("username"), metadata.get("password")))
        node = database_pb2.Node(roles=[2], labels={"type": "hot"})
        return rpc_pb2.GetCurrentNodeResponse(node=node).SerializeToString()


def access(node, *flags):
    told = [f"--node-tls-ca={node.ca}", "--node-tls-server-name=node.example", *flags]
    return access_of(load(told, {}))


async def page(node, own):
    client = HttpClient(access=own)
    url = f"http://127.0.0.1:{node.http_port}/metrics"
    answer = await client.get(url, timeout_s=5, max_bytes=100)
    await client.aclose()
    return answer.body


def test_metrics_and_role_are_read_by_tls_with_the_credentials_of_the_moment(tmp_path):
    credentials = tmp_path / "credentials"

    async def scenario():
        async with Node(tmp_path) as node:
            own = access(node, "--node-https", f"--node-credentials-file={credentials}")
            credentials.write_text("fodc:s3cret\n")
            assert await page(node, own) == b"up 1\n"
            assert (await ask_node(node.grpc_port, own)).role == "ROLE_DATA"
            credentials.write_text("fodc:other")
            await ask_node(node.grpc_port, own)
            return node.seen

    assert asyncio.run(scenario()) == [
        f"Authorization: {BASIC}",
        ("fodc", "s3cret"),
        ("fodc", "other"),
    ]


def test_a_node_of_another_authority_or_name_is_not_trusted(tmp_path):
    async def scenario():
        async with Node(tmp_path) as node:
            other = access_of(load([f"--node-tls-ca={node.ca}", "--node-https"], {}))
            with pytest.raises(FetchError, match="certificate verify failed"):
                await page(node, other)
            with pytest.raises(RpcError, match="certificate verify failed"):
                await ask_node(node.grpc_port, other)
            missing = access(node, "--node-https", f"--node-tls-ca={tmp_path / 'no.pem'}")
            with pytest.raises(FetchError, match="No such file"):
                await page(node, missing)
            with pytest.raises(RpcError, match="No such file"):
                await ask_node(node.grpc_port, missing)
            return node.seen

    assert asyncio.run(scenario()) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), ("s3cret", "one line USER:PASSWORD"), (":s3cret", "USER:PASSWORD"),
     ("fodc:s3\ncret", "USER:PASSWORD"), ("fodc:s3cr\u00e9t", "USER:PASSWORD"),
     ("fodc:" + "s3cret" * 1000, "USER:PASSWORD")],
)  # fmt: skip
def test_credentials_that_cannot_be_sent_are_named_by_their_file_and_not_repeated(
    tmp_path, content, words
):
    file = tmp_path / "credentials"
    if content is not None:
        file.write_text(content)
    own = access_of(load([f"--node-credentials-file={file}"], {}))

    with pytest.raises(OSError) as raised:
        asyncio.run(own.authorization())

    assert str(raised.value).startswith(f"--node-credentials-file {file}: ")
    assert words in str(raised.value)
    assert "s3" not in str(raised.value).replace(str(file), "")


def test_a_password_leaves_the_machine_by_tls_only(tmp_path):
    file = tmp_path / "credentials"
    file.write_text("fodc:s3cret")
    far = NodeAccess("10.1.2.3", credentials_file=file)
    near = NodeAccess("127.0.0.1", credentials_file=file)

    assert asyncio.run(far.authorization()) == ""
    assert asyncio.run(far.metadata()) == {}
    assert asyncio.run(near.authorization()) == BASIC
    assert "s3cret" not in repr(near)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--node-tls-cert=a"], "node-tls-cert and node-tls-key must be given together"),
        (
            ["--attachment=remote", "--targets-file=t", "--node-credentials-file=c"],
            "node-credentials-file with attachment=remote needs node-tls or node-https",
        ),
    ],
)
def test_flags_that_need_each_other_are_asked_for(flags, words):
    with pytest.raises(OptionError, match=words):
        load(flags, {})
