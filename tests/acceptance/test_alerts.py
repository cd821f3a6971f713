"""Rules, alerts, silences and maintenance, by the installed command; the readings over real SSH."""

import json
import socket
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from labmon.demo.sshd import DemoServer
from tests.support.servers import free_port


@pytest.fixture(autouse=True)
def warm(lab, warm_labmon):
    lab.warm = warm_labmon


@pytest.fixture
def site(lab, store_url):
    """Two machines that are found; the alarm is a rule that any machine breaks."""
    lab.environ["LABMON_DATABASE_URL"] = store_url
    with DemoServer(["127.0.0.1", "127.0.0.2"], key_file=lab.folder / "key") as server:
        lab.environ |= {
            "LABMON_COLLECT_PORT": str(server.port),
            "LABMON_COLLECT_KEY_FILES": str(lab.folder / "key"),
        }
        lab.run("scan", "127.0.0.1-2", "--dept", "1", "--quiet")
        yield lab


def alerts(lab, *arguments):
    return json.loads(lab.run("alerts", "list", "-f", "json", *arguments).stdout)


def outbox(lab):
    with psycopg.connect(lab.environ["LABMON_DATABASE_URL"]) as connection:
        return [
            (body["system_id"], body["state"])
            for (body,) in connection.execute("SELECT body FROM alert_outbox ORDER BY outbox_id")
        ]


def test_from_a_rule_to_an_alert_to_its_end(site):
    lab = site
    assert lab.run("alerts", "list").stderr == "nothing is wrong\n"
    lab.run(
        "alerts", "rules", "add", "used", "--metric", "ram_percent", "--above", "0.01", "--note", "it is used"
    )
    lab.run("collect", "--all")
    both = alerts(lab)
    assert {(one["alert_type"], one["state"], one["system_id"]) for one in both} == {
        ("used", "firing", 1),
        ("used", "firing", 2),
    }
    assert sorted(outbox(lab)) == [(1, "firing"), (2, "firing")]
    first = both[0]["alert_id"]

    assert "acknowledged" in lab.run("alerts", "ack", first, "-m", "I know").stderr
    shown = lab.run("alerts", "show", first).stdout
    assert "I know" in shown and "it is used" in shown and "ram_percent" in shown
    assert "acknowledged by" in lab.run("alerts", "list").stdout

    lab.run("alerts", "rules", "set", "used", "--above", "99.9")
    lab.run("collect", "--all")
    assert alerts(lab) == []
    history = json.loads(lab.run("alerts", "history", "-f", "json").stdout)
    assert [one["state"] for one in history] == ["resolved", "resolved"]
    assert sorted(outbox(lab)) == [(1, "firing"), (1, "resolved"), (2, "firing"), (2, "resolved")]


def test_a_rule_of_a_system_takes_the_place_of_the_wider_one(site):
    site.run("alerts", "rules", "add", "used", "--metric", "ram_percent", "--above", "0.01")
    site.run("alerts", "rules", "add", "used", "--metric", "ram_percent", "--disable", "--system", "2")
    site.run("collect", "--all")
    assert [one["system_id"] for one in alerts(site)] == [1]
    assert [one["system_id"] for one in alerts(site, "--system", "2")] == []


def test_a_silence_and_a_maintenance_keep_the_peace(site):
    lab = site
    lab.run("alerts", "rules", "add", "used", "--metric", "ram_percent", "--above", "0.01")
    assert "until" in lab.run("alerts", "silence", "--rule", "used", "--system", "1", "--for", "1h").stderr
    lab.run("maintenance", "add", "--system", "2", "--for", "1h", "--mode", "record", "-m", "new disk")
    lab.run("collect", "--all")
    (one,) = alerts(lab)
    assert (one["system_id"], one["muted"]) == (1, "silence 1")
    assert outbox(lab) == []
    listed = lab.run("maintenance", "list").stdout
    assert "new disk" in listed and "silence" in listed
    lab.run("maintenance", "remove", "1")
    assert json.loads(lab.run("maintenance", "list", "-f", "json").stdout)[0]["maintenance_id"] == 2


def test_weekly_hours_say_when_they_come_next(stored_lab):
    lab = stored_lab
    done = lab.run(
        *("maintenance", "add", "--all", "--weekly", "Mon-Sun 00:00-24:00", "--timezone", "Asia/Kolkata"),
        *("--mode", "skip"),
    )
    assert "on now. Its hours are the whole week, so it never ends" in done.stderr
    row = json.loads(lab.run("maintenance", "list", "-f", "json").stdout)[0]
    assert (row["mode"], row["active"], row["timezone"]) == ("skip", True, "Asia/Kolkata")
    assert (row["always"], row["begins"], row["until"]) == (True, None, None)
    lab.run("maintenance", "add", "--all", "--weekly", "Mon-Sun 00:00-12:00", "--timezone", "Asia/Kolkata")
    row = json.loads(lab.run("maintenance", "list", "-f", "json").stdout)[-1]
    assert row["begins"].endswith("18:30:00Z")  # midnight there


def known_rules(lab):
    rows = json.loads(lab.run("alerts", "rules", "list", "-f", "json").stdout)
    return [row | {"rule_id": None} for row in rows]


def test_a_maintenance_in_a_year_is_listed_with_its_dates(stored_lab):
    begin = datetime.now(UTC).replace(microsecond=0) + timedelta(days=365)
    when = begin.isoformat()
    stored_lab.run("maintenance", "add", "--all", "--from", when, "--for", "1h")
    (row,) = json.loads(stored_lab.run("maintenance", "list", "-f", "json").stdout)
    assert datetime.fromisoformat(row["begins"]) == begin
    assert datetime.fromisoformat(row["until"]) == begin + timedelta(hours=1)
    refused = stored_lab.run(
        *("maintenance", "add", "--all", "--from", when, "--for", "1h", "--timezone", "Mars/Base"), code=2
    )
    assert "--timezone is for --weekly" in refused.stderr


# findings C12
@pytest.mark.parametrize("name", ["", "x" * 5000, "a\x1b[31m", "a\u202eb", "two\nlines"])
def test_a_department_has_a_name_that_lists_can_show(stored_lab, name):
    refused = stored_lab.run("departments", "set", 1, "--name", name, code=2)
    assert "no name for a department" in refused.stderr


# findings D13
def test_the_list_of_rules_shows_how_long_an_alert_takes_to_clear(stored_lab):
    shown = stored_lab.run("alerts", "rules", "list").stdout.splitlines()
    assert "Clear at" in shown[0]
    rules = json.loads(stored_lab.run("alerts", "rules", "list", "-f", "json").stdout)
    (full,) = (rule for rule in rules if rule["name"] == "disk_full")
    assert (full["hold_seconds"], full["clear_for_seconds"]) == (0.0, 300.0)
    (line,) = (line for line in shown if " disk_full " in line)
    assert " 95, 5m " in line
    for rule in rules:
        assert rule["clear_for_seconds"] >= 0


def test_rules_go_out_as_toml_and_come_back(stored_lab):
    lab = stored_lab
    file = lab.folder / "rules.toml"
    file.write_text(lab.run("alerts", "rules", "export").stdout)
    before = known_rules(lab)
    lab.run("alerts", "rules", "remove", "cpu_high")
    lab.run("alerts", "rules", "add", "extra", "--metric", "load1", "--above", "9")
    lab.run("alerts", "rules", "import", file, "--replace")
    assert known_rules(lab) == before

    file.write_text(
        "[[rule]]\nname = 'good'\nmetric = 'load1'\nthreshold = 1\n[[rule]]\nname = 'bad'\nmetric = 'x'\n"
    )
    assert "rule bad" in lab.run("alerts", "rules", "import", file, code=2).stderr
    assert "good" not in lab.run("alerts", "rules", "list").stdout


def test_an_empty_file_removes_no_rules(stored_lab):
    """Such as is left when `export > rules.toml` failed."""
    lab = stored_lab
    before = known_rules(lab)
    file = lab.folder / "rules.toml"
    file.write_text("")
    assert "rule = []" in lab.run("alerts", "rules", "import", file, "--replace", code=2).stderr
    assert known_rules(lab) == before
    file.write_text("rule = []")
    lab.run("alerts", "rules", "import", file, "--replace")
    assert known_rules(lab) == []


def test_tables_fit_a_terminal(stored_lab):
    for words in (["alerts", "rules", "list"], ["maintenance", "list"]):
        stored_lab.run("maintenance", "add", "--all", "--for", "2h")
        assert max(map(len, stored_lab.run(*words).stdout.splitlines())) <= 90


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["alerts", "rules", "add", "x", "--metric", "cpu_percnt", "--above", "3"], "cpu_percent"),
        (["alerts", "rules", "add", "x", "--metric", "cpu_percent"], "--above"),
        (["alerts", "rules", "add", "x", "--metric", "cpu_percent", "--above", "3", "--for", "x"], "for"),
        (["alerts", "rules", "add", "x", "--metric", "load1", "--above", "3", "--lab", "7"], "lab '7'"),
        (["alerts", "rules", "set", "cpu_hgih", "--above", "3"], "cpu_high"),
        (["alerts", "rules", "set", "cpu_high"], "--above"),
        (["alerts", "rules", "add", "x", "--kind", "gon", "--above", "3"], "queue_backlog"),
        (["alerts", "rules", "set", "cpu_high", "--severity", "loud"], "info, warning, critical"),
        (["alerts", "rules", "set", "cpu_high", "--steady", "1d"], "steady"),
        (["alerts", "test", "cpu_high", "--system", "7"], "[notify] targets"),
        (["alerts", "list", "--lab", "B"], "labmon labs list"),
        (["alerts", "history", "--dept", "7"], "department 7"),
        (["alerts", "rules", "import", "/nowhere.toml"], "/nowhere.toml"),
        (["alerts", "rules", "remove", "nothing"], "nothing"),
        (["alerts", "show", "7"], "7"),
        (["alerts", "ack", "7"], "7"),
        (["alerts", "ack", "99999999999999999999"], "99999999999999999999"),
        (["alerts", "ack", "7", "-m", "two\nlines"], "one line"),
        (["alerts", "silence", "--rule", "cpu_high", "-m", "x" * 254], "253"),
        (["alerts", "deliveries", "--to", "\udcff"], "\\udcff"),
        (["maintenance", "add", "--all", "--for", "1h", "-m", "\udcff"], "UTF-8"),
        (["maintenance", "add", "--all", "--from", "2020-01-01", "--to", "2020-01-02"], "already"),
        (["maintenance", "add", "--all", "--weekly", "Mon", "--to", "2020-01-02"], "already"),
        (["alerts", "silence"], "--rule"),
        (["alerts", "silence", "--rule", "cpu"], "cpu"),
        (["alerts", "list", "--severity", "loud"], "loud"),
        (["maintenance", "add", "--for", "2h"], "--all"),
        (["maintenance", "add", "--all"], "--weekly"),
        (["maintenance", "add", "--all", "--for", "soon"], "soon"),
        (["maintenance", "add", "--all", "--weekly", "always"], "always"),
        (["maintenance", "add", "--all", "--weekly", "Mon", "--timezone", "Mars"], "Mars"),
        (["maintenance", "add", "--lab", "7", "--for", "2h"], "lab '7'"),
        (["maintenance", "remove", "7"], "7"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_thing(lab, shared_url, arguments, named):
    done = lab.run(*arguments, code=2, LABMON_DATABASE_URL=shared_url)
    assert len(done.stderr.splitlines()) == 1 and named in done.stderr
    assert done.stdout == ""


@pytest.fixture(scope="module")
def shared_url(postgres_server, schema_template):
    """A database that nobody's mistakes change."""
    with postgres_server.database(schema_template) as name:
        yield postgres_server.url(name)


def test_a_collectors_spool_that_fills_is_an_alert_wherever_labmon_consumes(site):
    away = {
        "QUEUE_TYPE": "redis",
        "QUEUE_HOST": "127.0.0.1",
        "QUEUE_PORT": str(free_port()),
        "LABMON_SPOOL_MAX_BYTES": "1MiB",
        "LABMON_STATE_DIR": str(site.folder / "collector"),
    }
    for _ in range(2):
        site.run("collect", "--all", "--queue-enabled", **away)
    site.run("alerts", "rules", "set", "spool_full", "--above", "0.5", "--clear", "0.1", "--for", "0s")
    site.run("consume", "--until-empty")
    (one,) = alerts(site)
    assert (one["alert_type"], one["subject"]) == ("spool_full", socket.gethostname())
    assert 0.5 < one["value"] < 50


def test_doctor_says_when_nobody_would_be_told_of_labmon_itself(lab, shared_url):
    targets = '[{name = "a", url = "http://127.0.0.1:1/", departments = [1]}%s]'
    for more, said in (("", True), (', {name = "b", url = "http://127.0.0.1:1/"}', False)):
        done = lab.run(
            "doctor", LABMON_DATABASE_URL=shared_url, LABMON_NOTIFY_TARGETS=targets % more, code=None
        )
        assert ("no target receives alerts about a queue" in done.stdout) is said


def test_doctor_shows_what_went_wrong_in_the_rules(site):
    lab = site
    assert "nothing is wrong" in lab.run("doctor").stdout
    with psycopg.connect(lab.environ["LABMON_DATABASE_URL"], autocommit=True) as connection:
        connection.execute("ALTER TABLE alert_outbox ADD CHECK (false)")
    lab.run("alerts", "rules", "add", "used", "--metric", "ram_percent", "--above", "0.01")
    lab.run("collect", "--all")
    assert "alert_outbox" in lab.run("doctor", code=5).stdout
