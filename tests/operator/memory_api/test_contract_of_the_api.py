# SPDX-License-Identifier: Apache-2.0
"""What both servers do alike: the API in memory must not tell other tests what is not so."""

import pytest

from tests.operator.memory_api.peers import Peer, a_request
from tests.operator.memory_api.store import JSON_PATCH

RUNNING = {"status": {"phase": "Running"}}


def test_a_new_object_has_uid_version_generation_and_no_status(peer: Peer):
    made = peer.send("POST", peer.path(), {**a_request(name="one"), **RUNNING})
    assert made.status == 201
    assert made.meta["generation"] == 1
    assert made.meta["namespace"] == peer.namespace
    assert len(made.meta["uid"]) == 36
    assert int(made.meta["resourceVersion"]) > 0
    assert made.meta["creationTimestamp"].endswith("Z")
    assert "status" not in made.body


def test_a_name_is_generated_when_asked_for(peer: Peer):
    made = peer.create(generateName="some-")
    assert made.meta["name"].startswith("some-")
    assert len(made.meta["name"]) == 10


def test_a_second_object_of_a_name_already_exists(peer: Peer):
    peer.create(name="one")
    again = peer.create(name="one")
    assert (again.status, again.reason) == (409, "AlreadyExists")


def test_an_absent_object_is_not_found_by_any_verb(peer: Peer):
    answers = [
        peer.get("none"),
        peer.merge("none", RUNNING, "status"),
        peer.delete("none"),
    ]
    assert [(one.status, one.reason) for one in answers] == [(404, "NotFound")] * 3
    message = 'diagnosticrequests.fodc.banyandb.dev "none" not found'
    assert answers[0].body["message"] == message


def test_a_new_spec_is_a_new_generation_and_a_new_status_is_none(peer: Peer):
    made = peer.create(name="one")
    told = peer.merge("one", RUNNING, "status")
    changed = peer.merge("one", {"spec": {"cancel": "Stop"}})
    assert [one.meta["generation"] for one in (made, told, changed)] == [1, 1, 2]
    versions = [int(one.meta["resourceVersion"]) for one in (made, told, changed)]
    assert versions == sorted(set(versions))
    assert changed.body["status"] == {"phase": "Running"}


def test_labels_are_no_new_generation(peer: Peer):
    peer.create(name="one")
    assert peer.merge("one", {"metadata": {"labels": {"a": "b"}}}).meta["generation"] == 1


def test_spec_and_status_are_written_by_their_own_paths_only(peer: Peer):
    peer.create(name="one")
    mixed = {"spec": {"cancel": "Stop"}, **RUNNING}
    assert "status" not in peer.merge("one", mixed).body
    told = peer.merge("one", {"spec": {"cancel": "Abort"}, **RUNNING}, "status")
    assert told.body["spec"]["cancel"] == "Stop"
    assert told.body["status"] == {"phase": "Running"}


def test_a_merge_patch_replaces_lists_and_removes_what_is_null(peer: Peer):
    peer.create(name="one")
    targets = [{"nodeName": "a"}, {"nodeName": "b"}]
    peer.merge("one", {"status": {"phase": "Running", "targets": targets}}, "status")
    told = peer.merge("one", {"status": {"phase": None, "targets": [{"nodeName": "c"}]}}, "status")
    assert told.body["status"] == {"targets": [{"nodeName": "c"}]}


def test_a_patch_that_changes_nothing_makes_no_new_version(peer: Peer):
    peer.create(name="one")
    first = peer.merge("one", RUNNING, "status")
    again = peer.merge("one", RUNNING, "status")
    assert again.meta["resourceVersion"] == first.meta["resourceVersion"]


@pytest.mark.parametrize("subresource", ["", "status"])
def test_a_patch_of_an_old_version_conflicts(peer: Peer, subresource: str):
    made = peer.create(name="one")
    told = peer.merge("one", RUNNING, "status")
    change = {"status": {"phase": "Failed"}, "spec": {"cancel": "Stop"}}
    answer = peer.merge("one", {**_version(made), **change}, subresource)
    assert (answer.status, answer.reason) == (409, "Conflict")
    assert peer.merge("one", {**_version(told), **change}, subresource).status == 200


def test_a_uid_is_no_guard_of_a_status(peer: Peer):
    """Hence our writes carry the version: a wrong uid is noticed by the object's own path only."""
    peer.create(name="one")
    wrong = {"metadata": {"uid": "6b0a1c1e-7d7a-4a55-9f0c-2f7d2f6f0a11"}, **RUNNING}
    refused = peer.merge("one", wrong)
    assert (refused.status, refused.reason) == (422, "Invalid")
    assert peer.merge("one", wrong, "status").status == 200


def test_a_deletion_of_an_old_version_conflicts(peer: Peer):
    made = peer.create(name="one")
    told = peer.merge("one", RUNNING, "status")
    old, new = made.meta["resourceVersion"], told.meta["resourceVersion"]
    refused = peer.delete("one", _preconditions(resourceVersion=old))
    assert (refused.status, refused.reason) == (409, "Conflict")
    assert peer.delete("one", _preconditions(resourceVersion=new)).status == 200
    assert peer.get("one").status == 404


def test_a_finalizer_keeps_an_object_until_it_is_removed(peer: Peer):
    peer.create(name="one", finalizers=["fodc.banyandb.dev/held"])
    peer.delete("one")
    kept = peer.get("one")
    assert kept.meta["deletionTimestamp"].endswith("Z")
    assert kept.meta["generation"] == 2
    peer.merge("one", {"metadata": {"finalizers": None}})
    assert peer.get("one").status == 404


def test_a_list_is_paged_and_selected(peer: Peer):
    for name in ("a", "b", "c"):
        peer.create(name=name, labels={"odd": str(name != "b").lower()})
    peer.merge("c", RUNNING, "status")
    first = peer.listed("limit=2")
    rest = peer.listed(f"limit=2&continue={first.meta['continue']}")
    assert [_names(first), _names(rest)] == [["a", "b"], ["c"]]
    assert rest.meta["continue"] == ""
    assert _names(peer.listed("labelSelector=odd=true")) == ["a", "c"]
    assert _names(peer.listed("fieldSelector=metadata.name=b")) == ["b"]
    assert _names(peer.listed("fieldSelector=status.phase=Running")) == ["c"]


def test_a_watch_goes_on_where_a_list_ended(peer: Peer):
    peer.create(name="before")
    version = peer.listed().meta["resourceVersion"]
    peer.create(name="one")
    peer.merge("one", RUNNING, "status")
    peer.delete("one")
    events = peer.watch(version, 3)
    told = [(one["type"], one["object"]["metadata"]["name"]) for one in events]
    assert told == [("ADDED", "one"), ("MODIFIED", "one"), ("DELETED", "one")]
    assert events[2]["object"]["status"] == {"phase": "Running"}
    deleted_at = int(events[2]["object"]["metadata"]["resourceVersion"])
    assert deleted_at > int(events[1]["object"]["metadata"]["resourceVersion"])


def test_a_watch_without_a_version_begins_with_what_is_there(peer: Peer):
    peer.create(name="one")
    (event,) = peer.watch("0", 1)
    assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "one")


def test_a_watch_of_a_forgotten_version_is_told_that_it_expired(peer: Peer):
    (event,) = peer.watch("1", 1)
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")


def test_a_json_patch_whose_test_fails_is_invalid(peer: Peer):
    made = peer.create(name="one")
    path = "/metadata/resourceVersion"
    steps = [
        {"op": "test", "path": path, "value": "1"},
        {"op": "add", "path": "/metadata/labels", "value": {"a": "b"}},
    ]
    refused = peer.send("PATCH", peer.path("one"), steps, JSON_PATCH)
    assert (refused.status, refused.reason) == (422, "Invalid")
    steps[0]["value"] = made.meta["resourceVersion"]
    taken = peer.send("PATCH", peer.path("one"), steps, JSON_PATCH)
    assert taken.meta["labels"] == {"a": "b"}


def test_an_update_needs_the_version_that_it_replaces(peer: Peer):
    made = peer.create(name="one")
    version = made.meta["resourceVersion"]
    blind = {**made.body, "metadata": {"name": "one", "namespace": peer.namespace}}
    assert peer.send("PUT", peer.path("one"), blind).status == 422
    peer.merge("one", RUNNING, "status")
    assert peer.send("PUT", peer.path("one"), made.body).status == 409
    fresh = peer.get("one").body
    fresh["spec"]["cancel"] = "Stop"
    assert peer.send("PUT", peer.path("one"), fresh).meta["generation"] == 2
    assert int(version) > 0


def test_an_unknown_kind_of_patch_is_refused(peer: Peer):
    peer.create(name="one")
    answer = peer.send("PATCH", peer.path("one"), {}, "application/unknown+json")
    assert answer.status == 415


def _names(answer) -> list[str]:
    return [one["metadata"]["name"] for one in answer.body["items"]]


def _version(answer) -> dict:
    return {"metadata": {"resourceVersion": answer.meta["resourceVersion"]}}


def _preconditions(**fields: str) -> dict:
    return {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": fields}
