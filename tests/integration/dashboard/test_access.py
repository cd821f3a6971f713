"""Who may do what: roles over all routes, sessions, tokens, requests of other sites."""

import re

import psycopg
import pytest

from labmon.config.tables import Config
from labmon.dashboard.app import create_app
from labmon.dashboard.context import Context
from tests.support.dashboard import PASSWORD, add_user, meta

UNSAFE = ("POST", "PUT", "PATCH", "DELETE")

OF_EVERYBODY = {
    "POST /api/v1/logout",
    "POST /api/v1/password",
    "DELETE /api/v1/sessions",
    "DELETE /api/v1/sessions/{session_id}",
    "POST /api/v1/tokens",
    "DELETE /api/v1/tokens/{token_id}",
}
"""Of one's own account."""

OF_ADMINS = {
    "POST /api/v1/users",
    "PATCH /api/v1/users/{name}",
    "DELETE /api/v1/users/{name}",
    "PATCH /api/v1/rules/{which}",
    "POST /api/v1/rules",
    "POST /api/v1/systems/{system}/undo",
    "POST /api/v1/systems/{system}/merge",
    "POST /api/v1/systems/{system}/split",
    "DELETE /api/v1/systems/{system}",
    "PATCH /api/v1/systems/{system}/login",
}


def routes():
    """Every route of the API as the OpenAPI document names it: "POST /api/v1/alerts/ack"."""
    paths = create_app(Context(Config(), None)).openapi()["paths"]
    return [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]


ROUTES = [route for route in routes() if route != "POST /api/v1/login"]


def ask(browser, route, **more):
    method, path = route.split()
    path = re.sub(r"\{[^}]*\}", "2147483647", path)
    if method in UNSAFE and method != "DELETE":
        more.setdefault("json", {})
    return browser.request(method, path, **more)


@pytest.mark.parametrize("route", ROUTES)
def test_a_stranger_gets_nothing_of_the_api(dashboard, route):
    with dashboard.browser() as stranger:
        answer = ask(stranger, route)
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.json()["status"] == 401


@pytest.mark.parametrize("route", [route for route in ROUTES if route.split()[0] in UNSAFE])
def test_each_unsafe_route_needs_the_role_that_it_should(browsers, route):
    least = "admin" if route in OF_ADMINS else "viewer" if route in OF_EVERYBODY else "operator"
    refused = {"viewer": [], "operator": ["viewer"], "admin": ["viewer", "operator"]}[least]
    for role, browser in browsers.items():
        if role in refused:
            assert ask(browser, route).status_code == 403
        elif route not in OF_EVERYBODY:  # what it does, its own tests show: here it has nothing to do it to
            assert ask(browser, route).status_code not in (401, 403, 500)


@pytest.mark.parametrize("route", [route for route in ROUTES if route.split()[0] in UNSAFE])
def test_an_unsafe_request_with_a_cookie_needs_the_token_of_the_session(browsers, dashboard, route):
    admin = browsers["admin"]
    assert ask(admin, route, headers={"X-CSRF-Token": ""}).status_code == 403
    other = browsers["viewer"].headers["X-CSRF-Token"]
    assert ask(admin, route, headers={"X-CSRF-Token": other}).status_code == 403


@pytest.mark.parametrize(
    "header",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ],
    ids=str,
)
def test_a_page_of_another_site_cannot_send_what_changes_anything(browsers, header):
    answer = browsers["admin"].post("/api/v1/tokens", content='{"name": "x"}', headers=header)
    assert answer.status_code == 403
    assert browsers["admin"].get("/api/v1/tokens").json() == []


def test_our_own_pages_can(browsers, dashboard):
    headers = {"Origin": dashboard.url, "Sec-Fetch-Site": "same-origin"}
    made = browsers["operator"].post("/api/v1/tokens", json={"name": "x"}, headers=headers)
    assert made.status_code == 201
    number = made.json()["token_id"]
    assert browsers["operator"].delete(f"/api/v1/tokens/{number}", headers=headers).status_code == 204


@pytest.mark.parametrize(
    "header", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}], ids=str
)
@pytest.mark.parametrize("way", ["form", "json"])
def test_another_site_cannot_log_a_browser_in(dashboard, header, way):
    fields = {"name": "viewer", "password": PASSWORD}
    with dashboard.browser() as browser:
        if way == "form":
            answer = browser.post("/login", data=fields, headers=header)
        else:
            answer = browser.post("/api/v1/login", json=fields, headers=header)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/", "/systems", "/labs/1", "/alerts", "/queues/dead", "/account", "/audit"]
)
def test_a_stranger_is_sent_to_the_login_page(dashboard, path):
    with dashboard.browser() as stranger:
        answer = stranger.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"] == ("/login" if path == "/" else f"/login?next={path}")


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("operator", 403), ("admin", 200)])
@pytest.mark.parametrize("page", ["/users", "/audit"])
def test_pages_of_admins_are_for_admins(browsers, page, role, status):
    answer = browsers[role].get(page, headers={"Accept": "text/html"})
    assert answer.status_code == status
    assert meta(answer.text, "role") == role


def test_logging_out_ends_the_session_and_not_only_the_cookie(dashboard):
    with dashboard.logged_in("viewer") as browser:
        cookie = dict(browser.cookies)
        assert browser.post("/api/v1/logout").status_code == 204
        assert not browser.cookies
    with dashboard.browser(cookies=cookie) as thief:
        assert thief.get("/api/v1/me").status_code == 401


def test_each_login_has_a_secret_of_its_own_and_ends_the_one_before(dashboard):
    with dashboard.logged_in("viewer") as browser:
        first = browser.cookies["labmon_session"]
        assert browser.post("/login", data={"name": "viewer", "password": PASSWORD}).status_code == 303
        assert browser.cookies["labmon_session"] != first
    with dashboard.browser(cookies={"labmon_session": first}) as thief:
        assert thief.get("/api/v1/me").status_code == 401


def test_the_cookie_is_kept_from_scripts_and_other_sites_and_is_not_secure_over_http(dashboard):
    with dashboard.browser() as browser:
        cookie = browser.post("/login", data={"name": "viewer", "password": PASSWORD}).headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Path=/" in cookie
    assert "Secure" not in cookie  # nobody could log in


def test_a_session_that_is_revoked_ends_in_the_other_browser(dashboard, shared_url):
    add_user(shared_url, "twice")
    with dashboard.logged_in("twice") as one, dashboard.logged_in("twice") as other:
        found = one.get("/api/v1/sessions").json()
        assert [session["current"] for session in found].count(True) == 1
        assert one.delete("/api/v1/sessions").status_code == 204
        assert other.get("/api/v1/me").status_code == 401
        assert one.get("/api/v1/me").status_code == 200


def test_one_cannot_end_the_session_of_somebody_else(browsers):
    (number,) = (
        one["session_id"] for one in browsers["admin"].get("/api/v1/sessions").json() if one["current"]
    )
    assert browsers["viewer"].delete(f"/api/v1/sessions/{number}").status_code == 404
    assert browsers["admin"].get("/api/v1/me").status_code == 200


@pytest.mark.parametrize(
    "column",
    ["last_used_at = now() - interval '8 hours 1 second'", "created_at = now() - interval '7 days 1 second'"],
)
def test_a_session_that_is_idle_or_old_is_over(dashboard, shared_url, column):
    with dashboard.logged_in("viewer") as browser:
        assert browser.get("/api/v1/me").status_code == 200
        with psycopg.connect(shared_url) as connection:
            connection.execute(
                f"UPDATE web_sessions SET {column} "
                "WHERE session_id = (SELECT max(session_id) FROM web_sessions)"
            )
        assert browser.get("/api/v1/me").status_code == 401


def test_what_is_used_is_not_idle(dashboard, shared_url):
    with dashboard.logged_in("viewer") as browser, psycopg.connect(shared_url, autocommit=True) as connection:
        (number,) = (one["session_id"] for one in browser.get("/api/v1/sessions").json() if one["current"])
        connection.execute(
            "UPDATE web_sessions SET last_used_at = now() - interval '7 hours' WHERE session_id = %s",
            [number],
        )
        browser.get("/api/v1/me")
        row = connection.execute(
            "SELECT now() - last_used_at < interval '1 minute' FROM web_sessions WHERE session_id = %s",
            [number],
        ).fetchone()
    assert row == (True,)


def test_a_token_reads_and_cannot_do_more_than_its_role(dashboard):
    headers = dashboard.token("admin", "viewer")
    with dashboard.browser(headers=headers) as program:
        assert program.get("/api/v1/me").json() == {"name": "admin", "role": "viewer", "csrf": ""}
        assert program.get("/api/v1/users").status_code == 403
        assert program.post("/api/v1/users", json={"name": "x", "password": PASSWORD}).status_code == 403


def test_a_token_needs_no_csrf_token_and_makes_no_tokens(dashboard):
    with dashboard.browser(headers=dashboard.token("admin", "admin")) as program:
        assert program.post("/api/v1/users", json={"name": "!", "password": PASSWORD}).status_code == 403
        assert program.post("/api/v1/tokens", json={"name": "x"}).status_code == 403
        assert program.delete("/api/v1/sessions").status_code == 403


def test_nobody_makes_a_token_above_their_own_role(browsers):
    answer = browsers["viewer"].post("/api/v1/tokens", json={"name": "x", "role": "operator"})
    assert answer.status_code == 403


def test_a_token_loses_what_its_user_loses(dashboard, shared_url):
    add_user(shared_url, "demoted", "admin")
    with dashboard.browser(headers=dashboard.token("demoted", "admin")) as program:
        assert program.get("/api/v1/users").status_code == 200
        with psycopg.connect(shared_url) as connection:
            connection.execute("UPDATE users SET role = 'operator' WHERE name = 'demoted'")
        assert program.get("/api/v1/users").status_code == 403
        assert program.get("/api/v1/me").json()["role"] == "operator"


@pytest.mark.parametrize("token", ["lmt_unknown", "ä", "x" * 5000, "lmt_", "a b"])
def test_a_wrong_token_is_refused_even_beside_a_good_cookie(browsers, token):
    answer = browsers["admin"].get("/api/v1/me", headers={"Authorization": f"Bearer {token}".encode()})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_token_that_expired_or_was_revoked_is_refused(dashboard, shared_url, browsers):
    expired, revoked = dashboard.token("operator", "viewer"), dashboard.token("operator", "viewer")
    newest, before = [one["token_id"] for one in browsers["operator"].get("/api/v1/tokens").json()][:2]
    with psycopg.connect(shared_url) as connection:
        connection.execute(
            "UPDATE web_tokens SET expires_at = now() - interval '1 second' WHERE token_id = %s", [before]
        )
    assert browsers["operator"].delete(f"/api/v1/tokens/{newest}").status_code == 204
    with dashboard.browser() as program:
        assert program.get("/api/v1/me", headers=expired).status_code == 401
        assert program.get("/api/v1/me", headers=revoked).status_code == 401


def test_the_secret_of_a_token_is_shown_once_and_stored_nowhere(dashboard, shared_url):
    secret = dashboard.token("viewer", "viewer")["Authorization"].removeprefix("Bearer ")
    with dashboard.logged_in("viewer") as browser:
        assert secret not in browser.get("/api/v1/tokens").text
    with psycopg.connect(shared_url) as connection:
        rows = connection.execute(
            "SELECT web_tokens::text FROM web_tokens UNION ALL SELECT audit::text FROM audit"
        )
        assert not any(secret in row[0] for row in rows)


def test_a_new_password_ends_the_other_sessions_and_keeps_this_one(dashboard, shared_url):
    add_user(shared_url, "changer")
    with dashboard.logged_in("changer") as one, dashboard.logged_in("changer") as other:
        wrong = one.post("/api/v1/password", json={"old": "not it at all", "new": "another horse battery"})
        assert (wrong.status_code, wrong.json()["detail"]) == (422, "the old password is wrong")
        weak = one.post("/api/v1/password", json={"old": PASSWORD, "new": "short"})
        assert weak.status_code == 422
        done = one.post("/api/v1/password", json={"old": PASSWORD, "new": "another horse battery"})
        assert done.status_code == 204
        assert one.get("/api/v1/me").status_code == 200
        assert other.get("/api/v1/me").status_code == 401
    with dashboard.logged_in("changer", "another horse battery"):
        pass


def test_admins_add_change_and_remove_users_and_each_is_recorded(dashboard, browsers, shared_url):
    admin = browsers["admin"]
    assert admin.post(
        "/api/v1/users", json={"name": "Eve", "role": "operator", "password": PASSWORD}
    ).json() == {
        "name": "eve",
        "role": "operator",
    }
    assert admin.post("/api/v1/users", json={"name": "eve", "password": PASSWORD}).status_code == 422
    with dashboard.logged_in("eve") as eve:
        assert admin.patch("/api/v1/users/eve", json={"role": "viewer"}).status_code == 204
        assert eve.get("/api/v1/me").json()["role"] == "viewer"
        assert admin.patch("/api/v1/users/eve", json={"password": "another horse battery"}).status_code == 204
        assert eve.get("/api/v1/me").status_code == 401
    assert admin.delete("/api/v1/users/eve").status_code == 204
    assert admin.delete("/api/v1/users/eve").status_code == 404
    assert admin.patch("/api/v1/users/eve", json={"role": "viewer"}).status_code == 404
    about = [one for one in admin.get("/api/v1/audit").json()["items"] if one["object"] == "user eve"]
    assert [(one["actor"], one["action"], one["detail"]) for one in about] == [
        ("admin", "users.remove", {}),
        ("admin", "users.set", {"password": "changed"}),
        ("admin", "users.set", {"role": "viewer"}),
        ("eve", "login", {}),
        ("admin", "users.add", {"role": "operator"}),
    ]
    assert {one["address"] for one in about} == {"127.0.0.1"}


def test_the_last_admin_cannot_go(browsers):
    admin = browsers["admin"]
    others = [one["name"] for one in admin.get("/api/v1/users").json() if one["role"] == "admin"]
    assert others == ["admin"]
    for answer in (
        admin.delete("/api/v1/users/admin"),
        admin.patch("/api/v1/users/admin", json={"role": "viewer"}),
    ):
        assert answer.status_code == 422
        assert "only admin" in answer.json()["detail"]


def test_the_record_is_read_page_by_page_without_a_gap(browsers):
    admin = browsers["admin"]
    whole = [one["audit_id"] for one in admin.get("/api/v1/audit?limit=500").json()["items"]]
    paged, after = [], ""
    while after is not None:
        page = admin.get(f"/api/v1/audit?limit=2{f'&after={after}' if after else ''}").json()
        paged += [one["audit_id"] for one in page["items"]]
        after = page["next"]
    assert paged == whole == sorted(whole, reverse=True)


def test_the_openapi_document_is_for_who_is_logged_in(dashboard, browsers):
    with dashboard.browser() as stranger:
        assert stranger.get("/openapi.json").status_code == 401
        assert stranger.get("/docs").status_code == 404
    assert "/api/v1/me" in browsers["viewer"].get("/openapi.json").json()["paths"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/users/viewer", {"password": "another horse battery"}),
        ("PATCH", "/users/viewer", {"role": "admin"}),
        ("POST", "/users", {"name": "mallory", "role": "admin", "password": PASSWORD}),
        ("DELETE", "/users/viewer", None),
        ("POST", "/tokens", {"name": "more", "role": "admin"}),
        ("DELETE", "/tokens/1", None),
        ("DELETE", "/sessions", None),
        ("POST", "/password", {"old": PASSWORD, "new": "another horse battery"}),
    ],
)
def test_a_token_of_an_admin_changes_no_account(dashboard, method, path, body):
    with dashboard.browser(headers=dashboard.token("admin", "admin")) as program:
        assert program.request(method, f"/api/v1{path}", json=body).status_code == 403
        assert program.get("/api/v1/users").status_code == 200
