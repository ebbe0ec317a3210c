# SPDX-License-Identifier: Apache-2.0
"""The command reaches a proxy through an API server, by the kubeconfig that kubectl has."""

import asyncio
import json
import sys

import aiohttp
import pytest
import yaml
from aiohttp import web

from fodc_client import __main__ as program
from fodc_client import exchange
from fodc_client import kubeconfig as kubeconfig_module
from fodc_client.__main__ import main
from fodc_proxy.access.settings import AccessSettings

PERSON = "the-token-of-a-person"
OTHER = "the-token-of-another"
THROUGH = "/api/v1/namespaces/fodc-system/services/https:fodc-proxy-http:http/proxy"


class ApiServer:
    """Passes on what comes with its person's token, and takes that out, as a real one does."""

    def __init__(self, goal):
        self.goal = goal
        self.url = ""
        self.asked = []
        self.refuses = False

    async def start(self):
        app = web.Application()
        app.router.add_route("*", THROUGH + "/{rest:.*}", self.relay)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def relay(self, request):
        self.asked.append(request.headers.get("Authorization", ""))
        if self.refuses or request.headers.get("Authorization") != f"Bearer {PERSON}":
            message = "services is forbidden: anna cannot get services/proxy."
            return web.json_response({"kind": "Status", "message": message}, status=403)
        kept = {
            name: value
            for name, value in request.headers.items()
            if name not in {"Authorization", "Host"}
        }
        # A real one tells its name so.
        kept["X-Forwarded-For"] = "127.0.0.1"
        url = f"{self.goal}/{request.match_info['rest']}"
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method,
                url,
                params=request.query,
                headers=kept,
                data=await request.read(),
            ) as answer,
        ):
            headers = {"Content-Type": answer.headers.get("Content-Type", "")}
            return web.Response(status=answer.status, body=await answer.read(), headers=headers)


@pytest.fixture
def told(tmp_path):
    path = tmp_path / "tokens"
    path.write_text(f"anna profiler {PERSON}\nbert viewer {OTHER}\n")
    path.chmod(0o600)
    return {"access": AccessSettings(tokens_file=str(path))}


@pytest.fixture
def server(loop, stage):
    stage.agent("banyandb-data-0")
    server = ApiServer(stage.url)
    loop.run(server.start())
    yield server
    loop.run(server.runner.cleanup())


@pytest.fixture
def kubeconfig(tmp_path, server):
    """Write a kubeconfig whose current context is of this user."""

    def write(user):
        path = tmp_path / "kubeconfig"
        cluster = {"name": "c", "cluster": {"server": server.url}}
        contexts = [
            {"name": "mine", "context": {"cluster": "c", "user": "u"}},
            {"name": "bare", "context": {"cluster": "c", "user": "bare"}},
        ]
        users = [{"name": "u", "user": user}, {"name": "bare", "user": {}}]
        whole = {"clusters": [cluster], "contexts": contexts, "users": users}
        path.write_text(yaml.safe_dump({**whole, "current-context": "mine"}))
        return str(path)

    return write


def ran(capsys, *argv):
    code = main(list(argv))
    said = capsys.readouterr()
    assert not any(token in said.out + said.err for token in (PERSON, OTHER))
    return code, said.out, said.err


def test_the_token_of_the_context_is_for_the_api_server_and_for_the_proxy(
    kubeconfig, server, capsys
):
    path = kubeconfig({"token": PERSON})
    code, out, err = ran(capsys, "nodes", "--context", "mine", "--kubeconfig", path)
    assert code == 0, err
    assert "banyandb-data-0" in out
    assert server.asked == [f"Bearer {PERSON}"]


def test_a_plugin_that_makes_tokens_is_asked(kubeconfig, tmp_path, capsys):
    told = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": PERSON},
    }
    script = tmp_path / "plugin.py"
    script.write_text(f"print({json.dumps(json.dumps(told))})")
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": [str(script)],
        "interactiveMode": "Never",
    }
    path = kubeconfig({"exec": plugin})
    code, out, err = ran(capsys, "nodes", "--kubeconfig", path)
    assert code == 0, err
    assert "banyandb-data-0" in out


def test_another_token_for_the_proxy_may_be_given(kubeconfig, capsys, monkeypatch):
    monkeypatch.setenv("FODC_TOKEN", OTHER)
    path = kubeconfig({"token": PERSON})
    code, _, err = ran(
        capsys, "capture", "cpu", "--all", "--seconds", "1", "--context=", "--kubeconfig", path
    )
    assert code == 1
    assert "bert lacks the right capture" in err


def test_kubectl_fodc_takes_the_current_context(kubeconfig, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["kubectl-fodc", "nodes", "--kubeconfig"])
    sys.argv.append(kubeconfig({"token": PERSON}))
    assert program.kubectl() == 0
    assert "banyandb-data-0" in capsys.readouterr().out


def test_a_context_without_a_token_says_how_to_have_one(kubeconfig, capsys):
    path = kubeconfig({"token": PERSON})
    code, _, err = ran(capsys, "nodes", "--context", "bare", "--kubeconfig", path)
    assert code == 2
    assert "context 'bare' has no token, and the proxy knows callers by tokens" in err
    assert "--token-file or FODC_TOKEN" in err


def test_a_port_in_the_clear_is_named_to_the_api_server() -> None:
    found = kubeconfig_module._url("https://api", "fodc-system/fodc-proxy-http")
    assert found.endswith("/namespaces/fodc-system/services/fodc-proxy-http:http/proxy")


def test_what_the_api_server_refuses_is_told_with_the_role_that_is_needed(
    kubeconfig, server, capsys
):
    server.refuses = True
    code, _, err = ran(capsys, "nodes", "--context=", "--kubeconfig", kubeconfig({"token": PERSON}))
    assert code == 1
    assert "the API server refused: services is forbidden: anna cannot get services/proxy." in err
    assert "the role fodc-proxy-access is needed" in err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--context", "absent"], "the kubeconfig cannot be used"),
        (
            ["--context", "mine", "--proxy", "http://x:1"],
            "--proxy and --context exclude each other",
        ),
        (["--context=", "--service", "A/b/c"], "'A/b/c' is no NAMESPACE/NAME"),
    ],
)
def test_wrong_usage_is_told(kubeconfig, capsys, argv, words):
    path = kubeconfig({"token": PERSON})
    code, _, err = ran(capsys, "nodes", "--kubeconfig", path, *argv)
    assert code == 2
    assert words in err


def test_a_kubeconfig_that_is_not_there_is_told(tmp_path, capsys):
    code, _, err = ran(capsys, "nodes", "--kubeconfig", str(tmp_path / "absent"))
    assert code == 2
    assert "the kubeconfig cannot be used" in err


def test_the_library_is_loaded_only_by_who_asks_for_a_cluster():
    script = "import sys, fodc_client.__main__ as m\ntry:\n m.main(['--help'])\n"
    script += "except SystemExit:\n pass\n"
    script += "assert not {'kubernetes', 'ssl', 'jwt'} & set(sys.modules), sys.modules.keys()"

    async def run():
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, stdout=asyncio.subprocess.DEVNULL
        )
        return await child.wait()

    assert asyncio.run(run()) == 0


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        (
            'net/http: HTTP/1.x transport connection broken: malformed HTTP response "\\x15"',
            "The proxy's port may speak TLS: give --service NAMESPACE/https:NAME",
        ),
        (
            "http: server gave HTTP response to HTTPS client",
            "The proxy's port is in the clear: give --service NAMESPACE/NAME",
        ),
    ],
)
def test_an_api_server_that_meets_the_other_way_says_how_to_ask(message: str, hint: str) -> None:
    told = json.dumps({"kind": "Status", "message": message}).encode()
    assert exchange._of_api_server(told) == f"{message}. {hint}"
