"""A database gets this labmon's schema, whatever it has: nothing, an earlier one, other functions."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

import labmon.store.migrations
from labmon.alerts.evaluate import tick
from labmon.errors import SchemaOutOfDate, StoreRefused
from labmon.messages import Metrics, Readings
from labmon.store import migrate, schema
from labmon.store.metrics.record import record_metrics
from labmon.store.migrate import BASELINE, Migration, Origin
from tests.support import dumps

from .conftest import NOON

FOLDER = Path(schema.__file__).parent
NEXT = BASELINE + 1


@pytest.fixture
def empty(postgres_server):
    with postgres_server.database() as name, psycopg.connect(postgres_server.url(name)) as connection:
        yield connection


@pytest.fixture(scope="module")
def unreleased(postgres_server):
    """The name of a database of the last labmon before the baseline, filled, to make clones of."""
    (dump,) = (one for one in dumps.DUMPS if "8165146" in one.name)
    with postgres_server.database() as name:
        dumps.restore(postgres_server, name, dump)
        yield name


@pytest.fixture
def earlier(postgres_server, unreleased):
    with (
        postgres_server.database(unreleased) as name,
        psycopg.connect(postgres_server.url(name)) as connection,
    ):
        yield connection


@pytest.fixture
def next_migrations(monkeypatch):
    """Call it with SQL, one text for each migration after those that there are."""

    def add(*texts):
        first = max((one.version for one in migrate.available()), default=BASELINE) + 1
        added = [Migration(first + n, f"change{n}", text.encode()) for n, text in enumerate(texts)]
        every = migrate.available() + added
        monkeypatch.setattr(migrate, "available", lambda: every)
        return [one.version for one in added]

    return add


@pytest.fixture
def with_text(monkeypatch):
    """Call it with the name of a file of functions and another text of it."""

    def change(name, text):
        changed = [schema.File(name, text) if one.name == name else one for one in schema.functions()]
        monkeypatch.setattr(schema, "functions", lambda: changed)

    return change


def hashes(connection):
    return dict(connection.execute("SELECT name, sha256 FROM labmon_schema_functions").fetchall())


def routines(connection):
    """The functions and aggregates that labmon's files make, by their arguments, with their text."""
    rows = connection.execute(
        "SELECT oid::regprocedure::text, prorettype::regtype::text, prosrc FROM pg_proc "
        "WHERE pronamespace = 'public'::regnamespace AND proname LIKE 'labmon\\_%' "
        "AND proname NOT LIKE 'labmon\\_queue%' AND proname NOT LIKE 'labmon\\_address\\_range%'"
    )
    return {signature: rest for signature, *rest in rows}


# What there is to apply


def test_the_lists_of_files_are_complete():
    for folder, names in (("tables", schema.TABLES), ("functions", schema.FUNCTIONS)):
        assert sorted(names) == sorted(path.stem for path in (FOLDER / folder).iterdir())


def test_no_file_is_longer_than_400_lines():
    for path in FOLDER.rglob("*.sql"):
        assert len(path.read_text().splitlines()) < 400, path


def test_migrations_are_numbered_from_the_baseline_without_gaps():
    versions = [one.version for one in migrate.available()]
    assert versions == list(range(NEXT, NEXT + len(versions)))
    for path in Path(labmon.store.migrations.__file__).parent.glob("*.sql"):
        assert re.fullmatch(r"\d{4}_[a-z0-9_]+\.sql", path.name), path.name


def test_files_of_functions_only_replace_and_those_of_tables_hold_no_function():
    for file in schema.functions():
        text = file.sql.decode()
        assert re.findall(r"^(?:ALTER|DROP|INSERT|UPDATE|DELETE|CREATE (?!OR REPLACE ))", text, re.M) == []
    for file in schema.tables():
        assert not re.search(r"CREATE (OR REPLACE )?(FUNCTION|VIEW|TRIGGER|AGGREGATE)", file.sql.decode())


def test_every_function_view_and_trigger_is_written_once(empty):
    """And nothing else is there than what is written in the files."""
    text = "\n".join(file.sql.decode() for file in schema.functions())
    written = re.findall(r"^CREATE OR REPLACE (\w+) (\w+)(?:.*? ON (\w+))?", text, re.M)
    named = sorted(name for kind, name, _ in written if kind in ("FUNCTION", "AGGREGATE"))
    assert len(named) == len(set(named))
    migrate.migrate(empty)
    assert named == sorted(signature.partition("(")[0] for signature in routines(empty))
    views = {name for kind, name, _ in written if kind == "VIEW"} | {"readings"}
    assert views == {
        row[0] for row in empty.execute("SELECT viewname FROM pg_views WHERE schemaname = 'public'")
    }
    triggers = empty.execute("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal").fetchone()[0]
    assert len(re.findall("^CREATE OR REPLACE TRIGGER", text, re.M)) == triggers


# A new database


def test_an_empty_database_gets_everything_once(empty):
    done = migrate.migrate(empty)
    assert (done.origin, done.functions) == (Origin.EMPTY, schema.functions())
    assert migrate.migrate(empty).is_done
    versions = [one.version for one in migrate.applied(empty) if one.part == "tables"]
    assert versions == [BASELINE, *(one.version for one in migrate.available())]
    assert [one.name for one in migrate.applied(empty) if one.part == "functions"] == sorted(schema.FUNCTIONS)
    migrate.check(empty)


def test_an_empty_database_gets_the_migrations_too(empty, next_migrations):
    first, second = next_migrations(
        "CREATE TABLE added (one integer)", "ALTER TABLE added ADD COLUMN two text"
    )
    assert [one.version for one in migrate.migrate(empty).migrations][-2:] == [first, second]
    assert empty.execute("SELECT one, two FROM added").fetchall() == []


def test_an_empty_database_is_refused_with_the_way_out(empty):
    with pytest.raises(SchemaOutOfDate, match="labmon db migrate"):
        migrate.check(empty)


# findings A1: a setting of the database that an import left
@pytest.mark.parametrize("act", [migrate.migrate, migrate.check])
def test_a_database_whose_triggers_would_not_fire_is_refused_with_the_way_out(empty, act):
    empty.execute("SET session_replication_role = replica")
    with pytest.raises(StoreRefused, match="ALTER DATABASE .* RESET session_replication_role"):
        act(empty)


@pytest.mark.parametrize("start", ["empty", "earlier"])
def test_a_failing_migration_leaves_everything_as_it_was(start, request, next_migrations):
    connection = request.getfixturevalue(start)
    tables = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
    before = connection.execute(tables).fetchall()
    next_migrations("CREATE TABLE added (one integer)", "SELECT 1/0")
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate.migrate(connection)
    assert connection.execute(tables).fetchall() == before


@pytest.mark.parametrize("origin", [Origin.EMPTY, Origin.UNRELEASED])
def test_two_processes_may_migrate_at_once(postgres_server, unreleased, origin):
    template = unreleased if origin is Origin.UNRELEASED else "template1"
    with postgres_server.database(template) as name:

        def run(_):
            with psycopg.connect(postgres_server.url(name)) as connection:
                return migrate.migrate(connection).origin

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(run, range(2))) == sorted([Origin.BASELINE, origin])


# A database from before the baseline


def test_a_complete_one_is_behind_until_it_is_taken_over_with_every_row(earlier):
    with pytest.raises(SchemaOutOfDate, match="before the first release.*labmon db migrate"):
        migrate.check(earlier)
    columns, before = dumps.columns(earlier), dumps.contents(earlier)
    assert len(before) > 50 and sum(count for count, _ in before.values()) > 400
    done = migrate.migrate(earlier)
    assert (done.origin, done.functions) == (Origin.UNRELEASED, schema.functions())
    assert dumps.contents(earlier, columns) == before
    migrate.check(earlier)
    assert migrate.migrate(earlier).is_done


# findings A7: a GPU count and a rule for it
@pytest.mark.parametrize(
    "change, expected",
    [
        ("SELECT 1", [(False, "critical", None)]),  # as the administrator has gpu_gone
        (
            "UPDATE alert_rules SET enabled = true, severity = 'info' WHERE name = 'gpu_gone'",
            [(True, "info", None)],
        ),
        ("DELETE FROM alert_rules WHERE name = 'gpu_gone'", []),
        ("UPDATE alert_rules SET lab_id = 1 WHERE name = 'gpu_gone'", []),
        (
            "UPDATE alert_rules SET name = 'gpu_changed', note = 'ours' WHERE name = 'disk_full'",
            [(True, "critical", "ours")],
        ),
    ],
)
def test_one_that_is_taken_over_gets_the_rule_about_the_gpus_as_it_has_the_one_before(
    earlier, change, expected
):
    earlier.execute(change)
    migrate.migrate(earlier)
    query = "SELECT enabled, severity, NULLIF(note, %s) FROM alert_rules WHERE name = 'gpu_changed'"
    usual = "A GPU was taken out, put in, or no longer answers. Acknowledge it to keep the new count."
    assert earlier.execute(query, [usual]).fetchall() == expected
    assert earlier.execute("SELECT count(gpu_count), count(*) > 0 FROM readings").fetchone() == (0, True)


@pytest.mark.parametrize("gone, has", [("> 21", 21), ("= 25", 24), ("= 7", 25), ("> 1", 1)])
def test_a_partial_one_is_refused_in_one_line_with_the_way_out(earlier, gone, has):
    earlier.execute(f"DELETE FROM labmon_schema WHERE version {gone}")
    before = dumps.contents(earlier)
    for call in (migrate.check, migrate.migrate):
        with pytest.raises(
            SchemaOutOfDate, match=f"schema version {has},.*labmon db migrate. of commit"
        ) as raised:
            call(earlier)
        assert "\n" not in str(raised.value)
    assert dumps.contents(earlier) == before


# Functions that have changed


@pytest.mark.parametrize("name", schema.FUNCTIONS)
def test_a_file_of_functions_may_be_applied_twice_and_changes_nothing(empty, name):
    migrate.migrate(empty)
    before = routines(empty)
    (file,) = (one for one in schema.functions() if one.name == name)
    empty.execute(file.sql)
    empty.execute(file.sql)
    assert routines(empty) == before


@pytest.mark.parametrize("name", schema.FUNCTIONS)
def test_a_file_whose_hash_is_another_is_applied_again_and_no_other(earlier, name):
    migrate.migrate(earlier)
    before, expected = routines(earlier), hashes(earlier)
    earlier.execute("UPDATE labmon_schema_functions SET sha256 = 'another' WHERE name = %s", [name])
    with pytest.raises(SchemaOutOfDate, match=f"older functions: {name}.*labmon db migrate"):
        migrate.check(earlier)
    assert [one.name for one in migrate.migrate(earlier).functions] == [name]
    assert (routines(earlier), hashes(earlier)) == (before, expected)
    assert migrate.migrate(earlier).is_done


def test_a_changed_text_replaces_the_function(empty, with_text):
    migrate.migrate(empty)
    (file,) = (one for one in schema.functions() if one.name == "rollups")
    with_text("rollups", file.sql.replace(b"2000-01-01 00:00:00+00", b"2000-01-01 00:01:00+00"))
    query = "SELECT labmon_bucket('5 min', '2026-03-01 12:00+00') = '2026-03-01 11:56+00'"
    assert empty.execute(query).fetchone() == (False,)
    assert [one.name for one in migrate.migrate(empty).functions] == ["rollups"]
    assert empty.execute(query).fetchone() == (True,)


def test_what_cannot_be_replaced_fails_whole(empty, with_text):
    """A migration has to drop it: see the next test, and labmon/store/migrations."""
    migrate.migrate(empty)
    before, expected = routines(empty), hashes(empty)
    (file,) = (one for one in schema.functions() if one.name == "alert_rules")
    changed = file.sql.replace(b"SELECT rule.rule_id, systems.system_id\n", b"SELECT systems.system_id\n")
    with_text(
        "alert_rules", b"CREATE FUNCTION labmon_new() RETURNS integer LANGUAGE sql AS 'SELECT 1';" + changed
    )
    with pytest.raises(psycopg.errors.InvalidTableDefinition):
        migrate.migrate(empty)
    assert (routines(empty), hashes(empty)) == (before, expected)


def test_a_migration_drops_what_changes_its_shape_and_it_is_made_anew(empty, with_text, next_migrations):
    """A view with other columns, and a function that returns something else, with what depends on them."""
    migrate.migrate(empty)
    empty.execute("CREATE VIEW on_top AS SELECT rule_id FROM alert_coverage")  # stands for one of ours
    (rules,) = (one for one in schema.functions() if one.name == "alert_rules")
    with_text(
        "alert_rules",
        rules.sql.replace(
            b"SELECT rule.rule_id, systems.system_id\n",
            b"SELECT rule.name, rule.rule_id, systems.system_id\n",
        )
        + b"CREATE OR REPLACE VIEW on_top AS SELECT name, rule_id FROM alert_coverage;",
    )
    (buckets,) = (one for one in schema.functions() if one.name == "rollups")
    with_text("rollups", buckets.sql.replace(b"RETURNS timestamptz", b"RETURNS timestamp"))
    next_migrations(
        "DROP VIEW IF EXISTS on_top, alert_coverage, readings; DROP FUNCTION IF EXISTS labmon_bucket;"
    )
    done = migrate.migrate(empty)
    assert [one.name for one in done.functions] == list(schema.FUNCTIONS)
    assert empty.execute("SELECT name, rule_id FROM on_top").fetchall() == []
    (shape,) = empty.execute("SELECT pg_typeof(hour)::text FROM readings UNION ALL SELECT 'made'").fetchall()
    assert shape == ("made",)
    found = empty.execute("SELECT pg_get_function_result('labmon_bucket'::regproc)").fetchone()
    assert found == ("timestamp without time zone",)


def test_a_migration_that_drops_runs_in_an_empty_database_too(empty, next_migrations):
    next_migrations("DROP VIEW IF EXISTS readings; DROP FUNCTION IF EXISTS labmon_bucket;")
    migrate.migrate(empty)
    assert empty.execute("SELECT count(*) FROM readings").fetchone() == (0,)


def test_functions_are_applied_while_others_store_and_evaluate(connection, fleet, store_url):
    """None of them waits for another in a circle, which would end one, or cost the alerts of a batch."""
    over = threading.Event()

    def repeat(work):
        with psycopg.connect(store_url) as own:
            number = 0
            while not over.is_set():
                number += 1
                work(own, NOON + timedelta(seconds=number))
                own.commit()
            return number

    def store(own, at):
        readings = Readings(cpu_percent=99, disk_percent=98 + at.second % 2)
        record_metrics(own, [Metrics(system_id=n, collected_at=at, metrics=readings) for n in (1, 2, 3)])

    def change_rules(own, at):
        own.execute("UPDATE alert_rules SET enabled = NOT enabled WHERE name = 'cpu_hot'")

    def evaluate(own, at):
        tick(own, at, depths={}, metrics_queue="metrics_queue")

    with ThreadPoolExecutor() as pool:
        others = [pool.submit(repeat, work) for work in (store, store, change_rules, evaluate)]
        try:
            for _ in range(20):
                connection.execute("UPDATE labmon_schema_functions SET sha256 = 'another'")
                connection.commit()
                assert len(migrate.migrate(connection).functions) == len(schema.FUNCTIONS)
                connection.commit()
        finally:
            over.set()
        assert all(other.result() > 1 for other in others)
    assert connection.execute("SELECT place, said FROM alert_errors").fetchall() == []


# A newer database


def test_a_newer_schema_is_refused(empty):
    migrate.migrate(empty)
    empty.execute("INSERT INTO labmon_schema (version, name) VALUES (9999, 'future')")
    for call in (migrate.check, migrate.migrate):
        with pytest.raises(SchemaOutOfDate, match="version 9999.*Update labmon"):
            call(empty)


@pytest.mark.parametrize("version", ["0.1.1", "0.10.0", "99.0"])
def test_functions_of_a_newer_labmon_are_refused_and_left_as_they_are(empty, monkeypatch, version):
    migrate.migrate(empty)
    monkeypatch.setattr(migrate, "__version__", "0.1.0")
    empty.execute("UPDATE labmon_schema_functions SET sha256 = 'another', labmon = %s", [version])
    for call in (migrate.check, migrate.migrate):
        with pytest.raises(SchemaOutOfDate, match=f"labmon {version}.*Update labmon"):
            call(empty)


def test_the_same_functions_applied_by_a_newer_labmon_are_no_reason_to_refuse(empty):
    migrate.migrate(empty)
    empty.execute("UPDATE labmon_schema_functions SET labmon = '99.0'")
    migrate.check(empty)
