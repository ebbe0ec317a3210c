# SPDX-License-Identifier: Apache-2.0
"""A webhook that gives every pod the same patch: `python bench/constant_webhook.py CERT KEY`.

The one idea: what it adds to the creation of a pod is the least that a webhook which changes pods
can add on a machine, so that the benchmark can say how much of a figure is ours. It looks at
nothing but the uid, and writes HTTP out by hand. The patch comes in base64 as a line on standard
input, the port goes as a line to output.
"""

import asyncio
import re
import ssl
import sys

UID = re.compile(rb'"uid":"([-0-9a-f]{36})"')
LENGTH = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)
REVIEW = (
    b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"%s",'
    b'"allowed":true,"patchType":"JSONPatch","patch":"%s"}}'
)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patch: bytes) -> None:
    """Serve one connection to its end."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = LENGTH.search(head)
            assert length is not None
            uid = UID.search(await reader.readexactly(int(length[1])))
            assert uid is not None
            body = REVIEW % (uid[1], patch)
            writer.write(HEAD % len(body) + body)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve(certificate: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    patch = sys.stdin.readline().strip().encode()
    server = await asyncio.start_server(
        lambda reader, writer: answer(reader, writer, patch), "127.0.0.1", 0, ssl=context
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
