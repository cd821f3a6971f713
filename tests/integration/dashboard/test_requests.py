"""What requests are taken, and how others are refused."""

import pytest

from tests.integration.dashboard.conftest import ROLES
from tests.support.dashboard import PASSWORD


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/alerts/ack", {"ids": [True]}),
        ("/alerts/ack", {"ids": ["1"]}),
        ("/alerts/ack", {"ids": [1], "more": 1}),
        ("/alerts/unack", {"ids": [1.0]}),
        ("/maintenance", {"system_id": True, "until": "2030-01-01"}),
        ("/dead-letters/discard", {"queue": "metrics", "ids": [1]}),
        ("/users", {"name": "x1", "password": PASSWORD, "roles": "admin"}),
    ],
)
def test_a_body_with_a_value_of_another_type_or_an_unknown_key_is_refused(api, lab, path, body):
    api.post(path, body, 422)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/alerts?stat=firing", "there is no parameter 'stat' here. Did you mean state?"),
        ("/systems?state=down", "there is no parameter 'state' here. This address takes none"),
        ("/systems.csv?sate=up", "Did you mean state?"),
        ("/systems/1/series?metric=cpu_percent", "Did you mean metrics?"),
        ("/systems/1/series?form=1", "Did you mean from?"),
        ("/dead-letters?queu=x", "Did you mean queue?"),
        ("/queues/series?zzz=1", "Known: from, to"),
        ("/me?_=1", "takes none"),
        ("/stream?x=1", "takes none"),
        ("/alerts?state=firing&state=resolved", "state: it is given 2 times"),
        ("/alerts?%1b[31mx=1", "there is no parameter"),
    ],
)
def test_a_parameter_that_there_is_not_is_refused_with_the_nearest(api, lab, path, said):
    problem = api.get(path, 422)
    assert said in problem["detail"]
    assert "\x1b" not in problem["detail"]


def test_every_parameter_of_the_document_is_known(api, app, lab):
    for path, methods in app.openapi()["paths"].items():
        for one in methods.get("get", {}).get("parameters", []):
            if one["in"] == "query" and "{" not in path:
                answer = api.ask("GET", f"{path.removeprefix('/api/v1')}?{one['name']}=1")
                assert "there is no parameter" not in answer.text, (path, one["name"])


@pytest.mark.parametrize(
    ("path", "body", "key"),
    [
        ("/alerts/ack", '{"ids": [1], "ids": [2]}', "ids"),
        ("/maintenance", '{"system_id": 1, "until": "2030-01-01", "until": "2031-01-01"}', "until"),
        ("/login", '{"name": "anna", "password": "x", "n\\u0061me": "bernd"}', "name"),
    ],
)
def test_a_body_that_names_a_key_twice_is_refused(api, lab, path, body, key):
    headers = {"x-csrf-token": api.app.state.context.local_csrf, "content-type": "application/json"}
    answer = api.ask("POST", path, content=body, headers=headers)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == f"{key}: it is given twice. Give it once"


def test_who_may_not_ask_learns_nothing_of_parameters(dashboard):
    with dashboard.browser() as stranger:
        assert stranger.get("/api/v1/alerts?stat=firing").status_code == 401


@pytest.mark.parametrize("number", ["-1", "0", "1" * 20, "abc"])
@pytest.mark.parametrize("name", ["system", "lab"])
def test_a_number_that_none_can_have_is_refused(api, lab, name, number):
    api.get(f"/alerts?{name}={number}", 422)


@pytest.mark.parametrize("cursor", ["garbage", "2026-01-01 x", "", "2026-01-01T00:00:00+00:00 nosuch 1"])
def test_a_cursor_of_dead_letters_that_is_none_is_refused(api, lab, cursor):
    api.get(f"/dead-letters?after={cursor.replace('+', '%2B')}", 422)


def test_the_first_user_made_in_the_web_is_an_admin(api):
    for role in ROLES[:2]:
        api.post("/users", {"name": "anna", "role": role, "password": PASSWORD}, 422)
    api.post("/users", {"name": "anna", "role": "admin", "password": PASSWORD}, 201)


@pytest.mark.parametrize("path", ["/", "/systems", "/login", "/api/v1/systems", "/api/v1/me", "/metrics"])
def test_head_works_where_get_does(browsers, path):
    answer = browsers["viewer"].head(path)
    assert answer.status_code == browsers["viewer"].get(path).status_code
    assert answer.content == b""


def test_head_of_the_stream_ends(browsers):
    assert browsers["viewer"].head("/api/v1/stream").status_code == 200


def test_a_browser_that_opens_an_api_address_is_led_to_the_login(dashboard):
    page = {"Accept": "text/html,*/*", "Sec-Fetch-Mode": "navigate"}
    with dashboard.browser() as stranger:
        led = stranger.get("/api/v1/systems.csv", headers=page)
        assert (led.status_code, led.headers["location"]) == (303, "/login?next=/api/v1/systems.csv")
        assert stranger.get("/api/v1/systems.csv").status_code == 401
        assert stranger.get("/api/v1/me", headers={"Accept": "text/html"}).status_code == 401


@pytest.mark.parametrize(
    "path", ["/labs/abc", "/systems/999", "/labs/999", "/systems/-1", "/systems/" + "9" * 30]
)
def test_a_page_about_nothing_is_a_404(browsers, path):
    answer = browsers["viewer"].get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")


def test_a_forwarded_scheme_is_not_believed_where_the_server_has_tls(new_dashboard, store_url, certificates):
    files = f"--certificate={certificates / 'server.pem'}", f"--key={certificates / 'server.key'}"
    one = new_dashboard(*files, scheme="https")
    with one.browser(verify=False, headers={"X-Forwarded-Proto": "http"}) as browser:
        assert "strict-transport-security" in browser.get("/login").headers
