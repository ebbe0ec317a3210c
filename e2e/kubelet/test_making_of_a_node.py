# SPDX-License-Identifier: Apache-2.0
"""What a node is made of: images without a builder, places, and what is missing for it."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from e2e.controlplane.build import Unavailable
from e2e.controlplane.processes import ControlPlaneError
from e2e.kubelet import node, requirements
from e2e.kubelet.archives import Entry, Settings, layer, write_image
from e2e.kubelet.place import Place


def test_a_layer_has_each_folder_once_and_no_times() -> None:
    content = layer([Entry("/a/b/one", b"1", 0o755), Entry("/a/b/two", target="one")])

    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        heads = [(head.name, head.mode, head.linkname, head.mtime) for head in archive]
    assert heads == [
        ("a", 0o755, "", 0),
        ("a/b", 0o755, "", 0),
        ("a/b/one", 0o755, "", 0),
        ("a/b/two", 0o777, "one", 0),
    ]


def test_an_image_names_its_layers_by_their_digests(tmp_path: Path) -> None:
    content = layer([Entry("/program", b"x", 0o755)])
    settings = Settings(("/program",), "1000", {"A": "b"})
    write_image(tmp_path / "one.tar", "fodc.test/one:1", [content], settings)
    write_image(tmp_path / "two.tar", "fodc.test/one:1", [content], settings)

    with tarfile.open(tmp_path / "one.tar") as archive:
        files = {head.name: read(archive, head.name) for head in archive}
    (manifest,) = json.loads(files["manifest.json"])
    configuration = json.loads(files[manifest["Config"]])
    digest = hashlib.sha256(content).hexdigest()
    assert manifest["RepoTags"] == ["fodc.test/one:1"]
    assert files[manifest["Layers"][0]] == content
    assert configuration["rootfs"] == {"type": "layers", "diff_ids": [f"sha256:{digest}"]}
    assert configuration["config"] == {"Entrypoint": ["/program"], "User": "1000", "Env": ["A=b"]}
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def read(archive: tarfile.TarFile, name: str) -> bytes:
    content = archive.extractfile(name)
    assert content is not None
    return content.read()


def test_places_share_no_name_and_no_address() -> None:
    first, last = Place(0), Place(99)

    assert (first.network, first.pods, last.network, last.pods) == (
        "10.78.0.0/24",
        "10.78.1.0/24",
        "10.78.198.0/24",
        "10.78.199.0/24",
    )
    assert (last.host_ip, last.node_ip) == ("10.78.198.1", "10.78.198.2")
    assert all(len(name) <= 15 for name in (last.link, last.node_link))


def test_everything_that_is_missing_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(requirements, "CNI", Path("/nowhere"))

    said = "; ".join(requirements.missing())
    for word in ("containerd", "runc", "iproute2", "CNI plugins in /nowhere", "no Go compiler"):
        assert word in said


def test_who_is_not_root_cannot_run_a_kubelet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert requirements.missing() == ["not root"]


def test_no_process_is_started_before_every_program_is_built(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Defect: a node waited a minute while the control plane was compiled for ten."""
    asked: list[str] = []

    def binaries(*, build: bool, names: Sequence[str]) -> Unavailable:
        asked.extend(names)
        return Unavailable("kubelet is not built")

    monkeypatch.setattr(node.build, "binaries", binaries)
    monkeypatch.setattr(node.processes, "start", lambda *_: pytest.fail("started"))

    with (
        pytest.raises(ControlPlaneError, match="kubelet is not built"),
        node.node(tmp_path / "run", []),
    ):
        pass
    assert {"etcd", "kube-apiserver", "kube-scheduler", "kubelet"} <= set(asked)
    assert list(tmp_path.iterdir()) == []
