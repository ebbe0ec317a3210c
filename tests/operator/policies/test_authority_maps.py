# SPDX-License-Identifier: Apache-2.0
"""Who signs the proxy is handed out in each namespace with a FodcInjection, and only there."""

import asyncio
from typing import Any

from fodc_kube.client import Cluster
from fodc_kube.store import Store
from fodc_operator.policies.authority_maps import AuthorityMaps
from fodc_tls.serving import SourceError
from tests.operator.memory_api.server import MemoryApi
from tests.operator.memory_api.store import MERGE_PATCH, Resource
from tests.operator.servers import CONFIG_MAPS, cluster

NAME = "fodc-proxy-ca"


def policy(namespace: str, name: str = "banyandb", uid: str = "u-1") -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": name, "uid": uid, "resourceVersion": "1"}
    return {"metadata": metadata}


class Authority:
    """What the leader keeps."""

    def __init__(self) -> None:
        self.parts = {"ca.crt": b"first", "ca.key": b"secret"}
        self.problem = ""

    async def __call__(self) -> dict[str, bytes]:
        if self.problem:
            raise SourceError(self.problem)
        return self.parts


def scene(play) -> None:
    async def within() -> None:
        async with cluster() as (api, server):
            policies, authority = Store(), Authority()
            now = [0.0]
            maps = AuthorityMaps(server, policies, authority, clock_s=lambda: now[0])
            await play(api, server, policies, authority, maps, now)

    asyncio.run(within())


def kept(api: MemoryApi, namespace: str, of: Resource = CONFIG_MAPS) -> Any:
    return api.store(of).get(namespace, NAME)


def test_each_namespace_with_a_policy_gets_the_authority_and_nothing_secret() -> None:
    async def play(api: MemoryApi, _: Cluster, policies, authority, maps, now) -> None:
        policies.put(policy("a"))
        policies.put(policy("b"))
        policies.put(policy("b", "another", "u-2"))
        await maps.turn()

        assert [kept(api, one)["data"] for one in "ab"] == [{"ca.crt": "first"}] * 2
        owners = kept(api, "b")["metadata"]["ownerReferences"]
        assert [(one["kind"], one["name"], one["uid"]) for one in owners] == [
            ("FodcInjection", "another", "u-2"),
            ("FodcInjection", "banyandb", "u-1"),
        ]
        assert maps.fault == ""

        authority.parts = {"ca.crt": b"second first"}
        await maps.turn()
        assert [kept(api, one)["data"] for one in "ab"] == [{"ca.crt": "second first"}] * 2

    scene(play)


def test_what_somebody_changed_is_put_right_within_a_minute() -> None:
    async def play(api: MemoryApi, _: Cluster, policies, authority, maps, now) -> None:
        policies.put(policy("a"))
        await maps.turn()
        patch = {"data": {"ca.crt": "forged"}}
        api.store(CONFIG_MAPS).patch("a", NAME, MERGE_PATCH, patch)
        await maps.turn()
        assert kept(api, "a")["data"] == {"ca.crt": "forged"}
        now[0] = 60.0
        await maps.turn()
        assert kept(api, "a")["data"] == {"ca.crt": "first"}

    scene(play)


def test_what_keeps_agents_from_knowing_the_proxy_is_said_and_tried_again() -> None:
    async def play(api: MemoryApi, _: Cluster, policies, authority, maps, now) -> None:
        policies.put(policy("a"))
        authority.problem = "there is no Secret yet"
        await maps.turn()
        assert maps.fault == "there is no Secret yet"
        authority.problem = ""
        api.fail(403, "POST", "configmaps")
        await maps.turn()
        assert maps.fault.startswith("ConfigMap a/fodc-proxy-ca: create configmaps: 403")
        await maps.turn()
        assert (maps.fault, kept(api, "a")["data"]) == ("", {"ca.crt": "first"})

    scene(play)


def test_a_key_that_stands_beside_the_authority_is_never_handed_out() -> None:
    async def play(api: MemoryApi, _: Cluster, policies, authority, maps, now) -> None:
        policies.put(policy("a"))
        authority.parts = {"ca.crt": b"first\n-----BEGIN EC PRIVATE KEY-----\nsecret"}
        await maps.turn()
        assert api.store(CONFIG_MAPS).listed("a") == []
        assert maps.fault.startswith("beside the certificate authority stands a private key")

    scene(play)


def test_a_namespace_that_gets_its_first_policy_is_served_at_once() -> None:
    async def play(api: MemoryApi, _: Cluster, policies, authority, maps, now) -> None:
        task = asyncio.create_task(maps.run())
        await asyncio.sleep(0)
        policies.put(policy("a"))
        async with asyncio.timeout(5):
            while not api.store(CONFIG_MAPS).listed("a"):
                await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    scene(play)


def test_where_people_ask_by_tls_it_is_handed_out_without_a_policy() -> None:
    async def play(api: MemoryApi, server: Cluster, policies, authority, maps, now) -> None:
        maps = AuthorityMaps(server, policies, authority, always=("fodc-system",))
        await maps.turn()

        assert kept(api, "fodc-system")["data"] == {"ca.crt": "first"}
        assert maps.fault == ""

    scene(play)
