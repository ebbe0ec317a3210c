# SPDX-License-Identifier: Apache-2.0
"""What becomes of a test whose programs are not there: skipped for want of a builder, or failed."""

import pytest

from e2e import having, test_images
from e2e.controlplane import build
from e2e.images import building


def test_a_build_that_failed_fails_what_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defect: a broken build was a reason to skip, and the suite stayed green."""
    monkeypatch.setenv(build.PERMISSION_VARIABLE, "1")
    monkeypatch.setattr(having, "go_version", lambda: "go1.26")
    monkeypatch.setattr(build, "binaries", lambda **_: build.Unavailable("it does not compile"))

    with pytest.raises(pytest.fail.Exception, match="NO PEER: it does not compile"):
        having.had("NO PEER", "etcd")


@pytest.mark.parametrize(("permission", "go"), [("", "go1.26"), ("1", None)])
def test_what_was_never_tried_is_a_reason_to_skip(
    monkeypatch: pytest.MonkeyPatch, permission: str, go: str | None
) -> None:
    monkeypatch.setenv(build.PERMISSION_VARIABLE, permission)
    monkeypatch.setattr(having, "go_version", lambda: go)

    with pytest.raises(pytest.skip.Exception, match="NO PEER: etcd is missing"):
        having.miss("NO PEER: etcd is missing")


def test_images_whose_build_fails_fail_their_tests_and_are_tried_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries = []

    def fails() -> None:
        tries.append(1)
        raise building.ImagesError("building the images failed:\nno such step")

    monkeypatch.setattr(building, "built", fails)
    test_images.failure_of_building.cache_clear()
    try:
        said = {test_images.failure_of_building() for _ in range(3)}
    finally:
        test_images.failure_of_building.cache_clear()
    assert (said, len(tries)) == ({"building the images failed:\nno such step"}, 1)
