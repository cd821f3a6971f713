"""Systems, labs, departments and times as people write them, through the installed command."""

import json
import subprocess

import psycopg
import pytest

from tests.acceptance.conftest import LABMON


@pytest.fixture
def site(lab, store_url):
    """A lab with four systems in a database: two called pc01 in two domains, pc02, and one without a name."""
    lab.environ["LABMON_DATABASE_URL"] = store_url
    with psycopg.connect(store_url) as connection:
        connection.execute("INSERT INTO departments VALUES (1, 'Physics', 'PHY')")
        connection.execute("INSERT INTO labs VALUES (1, 1, 'A-101')")
        connection.execute(
            "INSERT INTO systems (system_id, dept_id, lab_id, ip_address, hostname, mac_address) VALUES "
            "(1, 1, 1, '127.0.0.1', 'pc01.a.example', '02:00:5e:10:00:01'),"
            "(2, 1, 1, '127.0.0.2', 'pc01.b.example', NULL),"
            "(3, 1, NULL, '127.0.0.3', 'pc02.a.example', NULL), (4, 1, NULL, '127.0.0.4', NULL, NULL)"
        )
    return lab


def ids(site, *arguments):
    return [row["system_id"] for row in json.loads(site.run(*arguments, "--format", "json").stdout)]


def test_every_command_about_a_system_takes_any_of_its_names(site):
    for name in ("1", "127.0.0.1", "pc01.a", "PC01.A.example", "02-00-5e-10-00-01"):
        assert ids(site, "systems", "show", name) == [1]
    site.run("systems", "set", "pc02", "127.0.0.4", "--lab", "a-101")
    assert ids(site, "systems", "list", "--lab", "A-101", "--dept", "physics") == [1, 2, 3, 4]
    for command in (
        ("systems", "history", "pc02"),
        ("metrics", "range", "pc02", "cpu"),
        ("alerts", "list", "--system", "pc02"),
        ("alerts", "history", "--system", "pc02"),
        ("events", "show", "--system", "pc02"),
        ("replay", "--queue", "metrics_queue", "--from", "1h", "--system", "pc02"),
        ("alerts", "silence", "--system", "pc02"),
        ("maintenance", "add", "--system", "pc02", "--for", "2h"),
        (
            "alerts",
            "rules",
            "add",
            "cpu_high",
            "--metric",
            "cpu_percent",
            "--above",
            "99",
            "--system",
            "pc02",
        ),
        ("labs", "set", "A-101", "--remove", "pc02"),
    ):
        site.run(*command)
        refused = site.run(*[one.replace("pc02", "pc01") for one in command], code=2).stderr
        assert "pc01 means 2 systems: 1 (pc01.a.example), 2 (pc01.b.example)" in refused, command


def test_a_file_a_lab_and_a_department_name_several(site):
    (site.folder / "old").write_text("pc02  # sold\n127.0.0.4\n")
    said = site.run("systems", "retire", "@old").stderr
    assert said.startswith("system 3: retired\nsystem 4: retired")
    assert "system 1: " in site.run("systems", "retire", "lab:A-101").stderr
    assert ids(site, "systems", "list") == []
    assert "there is no system 77" in site.run("systems", "retire", "pc02", "77", code=2).stderr


def test_collect_takes_names_and_a_department_by_name(site):
    site.environ |= {"LABMON_COLLECT_PORT": "1", "LABMON_COLLECT_PASSWORD": "x"}  # nothing listens there
    done = site.run(
        "collect", "--system", "pc02", "--system", "02:00:5e:10:00:01", "--format", "json", code=None
    )
    assert done.stdout, done.stderr
    assert {row["system_id"] for row in json.loads(done.stdout)} == {1, 3}
    assert "no department Chemistry" in site.run("collect", "--dept", "Chemistry", code=2).stderr
    scanned = site.run("scan", "127.0.0.1", "--dept", "phy", "--no-names").stderr
    assert "department" not in scanned


@pytest.mark.parametrize("where", ["before", "after", "last", "joined"])
def test_the_configuration_is_named_before_or_after_the_command(site, where):
    (site.folder / "other.toml").write_text("[collect]\nport = 4022\n")
    words = {
        "before": ("--config", "other.toml", "config", "show"),
        "after": ("config", "--config", "other.toml", "show"),
        "last": ("config", "show", "--config", "other.toml"),
        "joined": ("config", "show", "--config=other.toml"),
    }[where]
    assert "4022" in site.run(*words).stdout
    assert "no-such.toml" in site.run("config", "show", "--config", "no-such.toml", code=None).stderr


def test_times_mean_the_same_everywhere(site):
    for first, past in (("1w", "now"), ("yesterday 08:00", "today"), ("2026-03-01", "2026-03-01 12:00")):
        site.run("metrics", "range", "4", "cpu", "--from", first, "--to", past)
        site.run("events", "show", "--from", first, "--to", past)
        site.run("replay", "--queue", "metrics_queue", "--from", first, "--to", past)
    for command in (
        ("metrics", "range", "4", "cpu", "--from", "90"),
        ("metrics", "top", "--for", "24"),
        ("alerts", "silence", "--system", "4", "--for", "30"),
        ("maintenance", "add", "--system", "4", "--for", "7"),
        ("alerts", "rules", "set", "cpu_high", "--for", "300"),
        ("collect", "--all", "--every", "60"),
        ("collect", "--all", "--deadline", "20"),
    ):
        assert "has no unit" in site.run(*command, code=2).stderr, command
    for switch in ("--queue", "--queue-enabled", "--no-queue"):
        assert (
            "no machine"
            not in site.run("scan", "127.0.0.1", "--dept", "1", "--no-names", switch, code=None).stderr
        )


@pytest.mark.parametrize(
    "words, nearest",
    [
        (("alerts", "list", "--severity", "critcal"), "critical"),
        (("systems", "list", "--status", "ofline"), "offline"),
        (("systems", "list", "--format", "jsn"), "json"),
        (("scan", "127.0.0.1", "--dept", "1", "--type", "pign"), "ping"),
        (("maintenance", "add", "--all", "--mode", "mutt"), "mute"),
        (("metrics", "range", "4", "cpu_percnt"), "cpu_percent"),
        (("events", "show", "--queue", "metric_queue"), "metrics_queue"),
        (("alerts", "rules", "add", "x", "--kind", "treshold", "--above", "3"), "threshold"),
        (("alerts", "list", "--rule", "cpu_hig"), "cpu_high"),
    ],
)
def test_a_typo_in_a_value_is_an_error_with_the_nearest_one(site, words, nearest):
    assert f"Did you mean {nearest}?" in site.run(*words, code=2).stderr


def completed(site, line, *, last=""):
    words = line.split() + [last]
    done = subprocess.run(
        [LABMON],
        env=site.env
        | {
            "_LABMON_COMPLETE": "complete_bash",
            "COMP_WORDS": " ".join(words),
            "COMP_CWORD": str(len(words) - 1),
        },
        cwd=site.folder,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.split()


def test_the_shell_completes_what_the_inventory_and_the_configuration_know(site):
    assert completed(site, "labmon systems show", last="pc") == ["pc01.a.example", "pc01.b.example", "pc02"]
    assert completed(site, "labmon systems list --lab") == ["A-101"]
    assert completed(site, "labmon collect --dept", last="P") == ["PHY", "Physics"]
    assert "cpu_high" in completed(site, "labmon alerts list --rule", last="cpu")
    assert "cpu_percent" in completed(site, "labmon metrics top", last="cpu_p")
    assert "auth-failed" in completed(site, "labmon systems list --status", last="au")
    assert completed(site, "labmon events show --queue", last="me") == ["metrics_queue"]


def test_completing_is_silent_without_a_database(site):
    site.environ["LABMON_DATABASE_URL"] = "postgresql://labmon@127.0.0.1:1/labmon"
    assert completed(site, "labmon systems show", last="pc") == []
    site.environ["LABMON_DATABASE_URL"] = ""
    assert completed(site, "labmon systems show", last="pc") == []
    assert not (site.folder / "state" / "postgres").exists()
    (site.folder / "config.toml").write_text("nonsense = \n")
    assert completed(site, "labmon systems list --lab") == []
