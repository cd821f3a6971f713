"""What an administrator is answered: the reason that is the reason, and what there is not is said."""

import json

import psycopg
import pytest

from labmon.errors import Exit
from labmon.messages import Metrics, Readings, encode, utcnow


@pytest.fixture
def fleet(lab, store_url):
    """Systems 1 to 3 in department 1, of which 1 and 2 are in lab 1."""
    lab.environ["LABMON_DATABASE_URL"] = store_url
    with psycopg.connect(store_url, autocommit=True) as connection:
        connection.execute("INSERT INTO departments (dept_id, name) VALUES (1, 'Physics'), (2, 'Botany')")
        connection.execute("INSERT INTO labs (lab_id, dept_id, name) VALUES (1, 1, 'A-101'), (2, 1, 'A-102')")
        connection.execute(
            "INSERT INTO systems (system_id, dept_id, ip_address, lab_id) "
            "SELECT n, 1, '10.0.0.0'::inet + n, CASE WHEN n < 3 THEN 1 END FROM generate_series(1, 3) n"
        )
        yield connection


# what is asked for and is not there is said, and is no empty list


@pytest.mark.parametrize(
    "command",
    [
        "events show --system 999",
        "replay --queue metrics --from 2h --system 999",
        "alerts list --system 999",
        "alerts history --system 999",
        "alerts silence --system 999",
        "metrics range 999",
        "systems history 999",
        "systems show 999",
    ],
)
def test_a_system_that_there_is_not_is_said(lab, fleet, command):
    assert "no system 999" in lab.run(*command.split(), code=Exit.USAGE).stderr


@pytest.mark.parametrize(
    "command",
    [
        "systems list --lab A-999",
        "metrics latest --lab A-999",
        "metrics top --lab A-999",
        "alerts list --lab A-999",
        "alerts history --lab A-999",
        "systems trust --lab A-999",
        "collect --lab A-999",
        "systems list --dept 999",
        "metrics top --dept 999",
        "metrics summary --dept 999",
        "labs list --dept 999",
        "alerts list --dept 999",
        "systems trust --dept 999",
        "collect --dept 999",
        "alerts list --rule frobnicated",
        "alerts deliveries --to nobody",
        "events show --queue frob",
        "spool list --queue frob",
        "systems history --scan 999",
    ],
)
def test_a_filter_by_what_there_is_not_is_said(lab, fleet, command):
    said = lab.run(*command.split(), code=Exit.USAGE).stderr
    assert "there is no" in said or "department 999" in said


def test_events_of_a_system_that_has_none_are_no_mistake(lab, fleet):
    assert "no such events" in lab.run("events", "show", "--system", "1").stderr


# `labs set --remove`


def test_taking_out_of_a_lab_what_is_not_in_it_is_said_without_advice_to_scan(lab, fleet):
    for given in ("3", "10.0.0.3", "10.9.9.0/24"):
        said = lab.run("labs", "set", "A-101", "--remove", given).stderr
        assert "nothing removed: none of these systems is in lab 1" in said
        assert "labmon scan" not in said
    assert "1 removed" in lab.run("labs", "set", "A-101", "--remove", "10.0.0.1").stderr


def test_taking_out_of_a_lab_makes_none(lab, fleet):
    said = lab.run("labs", "set", "A-201", "--dept", "1", "--remove", "1", code=Exit.USAGE).stderr
    assert "there is no lab 'A-201'" in said
    assert fleet.execute("SELECT count(*) FROM labs").fetchone() == (2,)


# the limits of rules


@pytest.mark.parametrize(
    "limit, said",
    [
        ("cpu --metric cpu_percent --above 150", "cpu_percent is from 0 to 100, so it is never > 150"),
        ("cpu --metric cpu_percent --above 100", "never > 100"),
        ("ram --metric ram_percent --below -5", "never < -5"),
        ("load --metric load1 --above -1", "load1 is from 0 to 1e+15, so it is always > -1"),
        ("hot --metric cpu_temperature_celsius --above 2000", "from -273.15 to 1000"),
        ("users --metric logged_in_users --below 0", "never < 0"),
        ("cpu --metric cpu_percent --above 90 --clear -1", "never back at `clear` = -1"),
        ("quiet --kind no_data --above -300", "always > -300"),
        ("lab --kind lab_down --above 120", "from 0 to 100"),
    ],
)
def test_a_limit_that_no_value_can_reach_is_refused_with_the_bounds(lab, fleet, limit, said):
    assert said in lab.run("alerts", "rules", "add", *limit.split(), code=Exit.USAGE).stderr


def test_a_limit_out_of_bounds_is_refused_wherever_rules_come_in(lab, fleet):
    lab.run("alerts", "rules", "add", "mine", "--metric", "cpu_percent", "--above", "90")
    assert "never > 150" in lab.run("alerts", "rules", "set", "mine", "--above", "150", code=2).stderr
    file = lab.folder / "rules.toml"
    file.write_text('[[rule]]\nname = "other"\nmetric = "cpu_percent"\nthreshold = 150\n')
    assert "never > 150" in lab.run("alerts", "rules", "import", str(file), code=2).stderr
    exported = lab.run("alerts", "rules", "export").stdout
    assert "150" not in exported and "mine" in exported


def test_a_limit_at_the_end_is_taken_where_it_can_be_met_and_all_rules_of_a_new_database_are(lab, fleet):
    rule = '[[rule]]\nname = "full"\nmetric = "disk_percent"\ncomparison = ">="\nthreshold = 100\n'
    (lab.folder / "rules.toml").write_text(rule)
    lab.run("alerts", "rules", "import", "rules.toml")
    (lab.folder / "all.toml").write_text(lab.run("alerts", "rules", "export").stdout)
    lab.run("alerts", "rules", "import", "all.toml")


def test_a_rule_of_before_that_is_out_of_bounds_can_be_listed_and_disabled(lab, fleet):
    fleet.execute("UPDATE alert_rules SET threshold = 150 WHERE name = 'disk_full'")
    assert "disk_percent > 150" in lab.run("alerts", "rules", "list").stdout
    lab.run("alerts", "rules", "set", "disk_full", "--disable")
    assert "never > 150" in lab.run("alerts", "rules", "set", "disk_full", "--enable", code=2).stderr


# hours that are the whole week


@pytest.mark.parametrize(
    "hours",
    [
        "Mon-Sun 00:00-24:00",
        "Mon-Sun",
        "Mon-Thu 18:00-08:00, Mon-Sun 08:00-18:00, Fri 18:00-Mon 08:00",
        "Sat 12:00-Thu 13:00, Thu 12:00-Sat 12:00",
    ],
)
def test_hours_that_are_the_whole_week_never_end(lab, fleet, hours):
    said = lab.run("maintenance", "add", "--lab", "1", "--weekly", hours, "--timezone", "UTC").stderr
    assert "so it never ends. To end it: labmon maintenance remove" in said
    assert " never " in lab.run("maintenance", "list").stdout
    (row,) = json.loads(lab.run("maintenance", "list", "--format", "json").stdout)
    assert (row["until"], row["always"], row["active"]) == (None, True, True)
    line = lab.run("maintenance", "list", "--format", "csv").stdout.splitlines()
    found = dict(
        zip(line[0].split(","), line[1].replace(hours, "").replace('""', "").split(","), strict=True)
    )
    assert (found["until"], found["always"]) == ("", "True")


def test_hours_of_the_whole_week_end_with_their_maintenance_and_a_minute_less_is_not_the_whole_week(
    lab, fleet
):
    lab.run("maintenance", "add", "--all", "--weekly", "Mon-Sun", "--to", "2099-01-01", "--timezone", "UTC")
    lab.run("maintenance", "add", "--all", "--weekly", "Mon 00:01-Mon 00:00", "--timezone", "UTC")
    first, second = json.loads(lab.run("maintenance", "list", "--format", "json").stdout)
    assert (first["always"], first["until"][:4]) == (True, "2099")
    assert second["always"] is False and second["until"] is not None


# networks of departments


def test_a_subnet_with_host_bits_is_its_network_and_is_there_once(lab, fleet):
    done = lab.run("departments", "set", "1", "--subnet", "10.0.0.5/8", "--subnet", "10.0.0.0/8")
    assert "10.0.0.5/8 is a machine's address: taken as its network, 10.0.0.0/8" in done.stderr
    assert done.stderr.rstrip().endswith("Physics: 10.0.0.0/8")


@pytest.mark.parametrize("same", ["10.0.0.0/8", "10.77.0.1/8", "10.0.0.0/255.0.0.0"])
def test_a_subnet_of_another_department_is_refused_and_a_part_of_it_is_not(lab, fleet, same):
    lab.run("departments", "set", "1", "--subnet", "10.0.0.0/8")
    said = lab.run("departments", "set", "2", "--subnet", same, code=Exit.USAGE).stderr
    assert "subnet 10.0.0.0/8 is department 1's" in said
    lab.run("departments", "set", "2", "--subnet", "10.1.0.0/16")
    lab.run("departments", "set", "1", "--subnet", "10.0.0.0/8", "--name", "Physics")


# numbers as they were sent


def test_a_number_of_seven_digits_comes_back_without_others(lab, fleet):
    lab.run("setup-queues")
    now = utcnow()
    for number, load in enumerate((1e15, 0.1, 16777216.0), 1):
        message = Metrics(system_id=number, collected_at=now, metrics=Readings(load1=load))
        with psycopg.connect(lab.environ["LABMON_DATABASE_URL"]) as connection:
            from labmon.app.open import ingest_settings
            from labmon.config.load import load as settings
            from labmon.ingest.handlers import handlers

            handle = handlers(ingest_settings(settings(environ=lab.environ).config))["metrics_queue"]
            assert not handle(connection, [encode(message)])
    rows = json.loads(lab.run("metrics", "latest", "--format", "json").stdout)
    assert [row["load1"] for row in rows] == [1e15, 0.1, 16777216.0]
    top = json.loads(lab.run("metrics", "top", "load1", "--format", "json").stdout)
    assert [row["value"] for row in top] == [1e15, 16777216.0, 0.1]
    over = json.loads(lab.run("metrics", "top", "load1", "--for", "1h", "--format", "json").stdout)
    assert [row["value"] for row in over] == [1e15, 16777216.0, 0.1]
    for resolution in ("raw", "5m", "1h", "1d"):
        text = lab.run("metrics", "range", "1", "load1", "--resolution", resolution, "--format", "csv").stdout
        assert "1e+15" in text or "1000000000000000.0" in text, (resolution, text)
        assert "999999986991104" not in text
