"""What people do with systems, over the API: the same as the commands do, by whoever may."""

import pytest

from tests.integration.dashboard.conftest import rows


def listed(api):
    return sorted(rows(api.get("/systems")))


def test_taken_out_and_back_with_who_did_it(api, connection, lab):
    done = api.post("/systems/1/retire", {"comment": "sold"})
    assert (done["action"], done["done"], done["did"]) == ("retire", True, "retired")
    assert listed(api) == [2, 3, 4]
    assert api.get("/labs")[0]["systems"] == 1
    found = api.get("/systems/1")
    assert (found["status"], found["status_error"]) == ("retired", "sold")
    api.post("/systems/2/ignore", {})
    api.post("/systems/2/restore", {})
    api.post("/systems/1/undo", {})
    assert listed(api) == [1, 2, 3, 4]
    did = connection.execute("SELECT actor, action, object FROM audit ORDER BY audit_id").fetchall()
    assert did == [
        ("local", "systems.retire", "system 1"),
        ("local", "systems.ignore", "system 2"),
        ("local", "systems.restore", "system 2"),
        ("local", "systems.undo", "system 1"),
    ]


def test_changed_with_errors_that_say_who_has_the_seat(api, lab):
    changes = {"hostname": "desk", "lab_id": 1, "seat": [3, 2]}
    assert api.post("/systems/1", changes, method="PATCH")["did"] == "host name desk, seat 3,2"
    told = api.post("/systems/2", {"seat": [3, 2]}, 422, method="PATCH")
    assert told["detail"] == "seat 3,2 of lab A-101 is that of system 1 (desk)"
    api.post("/systems/1/login", {"ssh_port": 2222, "ssh_user": "monitor"}, method="PATCH")
    found = api.get("/systems/1")
    assert (found["hostname"], found["seat_column"], found["ssh_port"]) == ("desk", 3, 2222)
    assert api.post("/systems/1", {"seat": [], "lab_id": 0}, method="PATCH")["did"] == "no lab, no seat"
    for wrong in ({"seat": [1]}, {"lab_id": 99}, {"hostname": "=1+1"}, {"colour": "red"}):
        api.post("/systems/1", wrong, 422, method="PATCH")
    api.post("/systems/99", {"lab_id": 0}, 404, method="PATCH")


def test_merged_split_and_removed(api, lab):
    assert api.post("/systems/1/merge", {"other": 1}, 422)["detail"].startswith("system 1 cannot be merged")
    api.post("/systems/1/merge", {"other": 2})
    assert listed(api) == [1, 3, 4]
    api.post("/systems/1/split", {"other": 2})
    assert listed(api) == [1, 2, 3, 4]
    api.post("/systems/3", None, method="DELETE")
    assert listed(api) == [1, 2, 4]
    api.post("/systems/3", None, 404, method="DELETE")


@pytest.mark.parametrize(
    ("method", "path", "body", "role"),
    [
        ("POST", "/systems/1/retire", {}, "operator"),
        ("PATCH", "/systems/1", {"hostname": "x"}, "operator"),
        ("PATCH", "/systems/1/login", {"ssh_key": "/etc/shadow"}, "admin"),
        ("POST", "/systems/1/merge", {"other": 2}, "admin"),
        ("POST", "/systems/1/undo", {}, "admin"),
        ("DELETE", "/systems/1", None, "admin"),
    ],
)
def test_who_may_not_is_refused(browsers, method, path, body, role):
    below = {"operator": "viewer", "admin": "operator"}[role]
    answer = browsers[below].request(method, f"/api/v1{path}", json=body)
    assert answer.status_code == 403, answer.text
