"""`labmon db`: a new database, one of an earlier labmon, and those that cannot be used as they are."""

import json

import psycopg
import pytest

from labmon.errors import Exit
from tests.support import dumps

THE_UNRELEASED = next(one for one in dumps.DUMPS if "8165146" in one.name)

# The queue keeps the functions that workers of before call, until those are updated.
OF_OLD_WORKERS = [
    "CREATE FUNCTION public.labmon_queue_claim(from_queue text, wanted integer, kept integer, "
    "after_high bigint, after_normal bigint, new_lease bigint, seconds double precision)",
    "CREATE FUNCTION public.labmon_queue_claim_lane(from_queue text, from_high boolean, after bigint, "
    "wanted integer, new_lease bigint, seconds double precision)",
]


@pytest.fixture
def database(lab, postgres_url):
    """An empty one, which the lab uses. Call it with SQL to change it."""
    lab.environ["LABMON_DATABASE_URL"] = postgres_url

    def execute(statement):
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(statement)

    return execute


def test_an_empty_database_is_refused_and_made_and_shown(lab, database):
    assert refusal(lab) == ("the database has no tables of labmon's. Make them with: labmon db migrate")
    said = lab.run("db", "migrate").stderr.splitlines()
    assert said[0] == "made the tables (schema version 26)"
    assert said[-1] == "the schema is up to date"
    assert lab.run("db", "migrate").stderr == "the schema is up to date\n"
    assert lab.run("db", "migrate", "--quiet").stderr == ""
    shown = json.loads(lab.run("db", "status", "--format", "json").stdout)
    assert (shown[0]["part"], shown[0]["version"], shown[0]["name"]) == ("tables", 26, "baseline")
    assert ("functions", None, "packing") in [(one["part"], one["version"], one["name"]) for one in shown]


def test_one_of_an_earlier_labmon_is_refused_and_taken_over(lab, database, postgres_server, postgres_url):
    dumps.restore(postgres_server, psycopg.conninfo.conninfo_to_dict(postgres_url)["dbname"], THE_UNRELEASED)
    assert refusal(lab) == (
        "the database's schema is behind: it is of a labmon from before the first release. "
        "Bring it up to date with: labmon db migrate"
    )
    said = lab.run("db", "migrate").stderr.splitlines()
    assert said[0] == "took over the tables of an earlier labmon (now schema version 26)"
    assert "the schema is up to date" in lab.run("db", "status").stderr


def test_functions_that_are_older_are_named_and_applied(lab, database):
    lab.run("db", "migrate")
    database("UPDATE labmon_schema_functions SET sha256 = 'x' WHERE name IN ('packing', 'alert_tick')")
    assert refusal(lab) == (
        "the database's schema is behind: it has older functions: packing, alert_tick. "
        "Bring it up to date with: labmon db migrate"
    )
    said = lab.run("db", "migrate").stderr.splitlines()
    assert said == ["applied functions and views: packing, alert_tick", "the schema is up to date"]


@pytest.mark.parametrize(
    "change", ["DELETE FROM labmon_schema WHERE version = 25", "DELETE FROM labmon_schema WHERE version = 3"]
)
def test_one_that_was_left_half_way_is_refused_by_migrate_too(
    lab, database, postgres_server, postgres_url, change
):
    dumps.restore(postgres_server, psycopg.conninfo.conninfo_to_dict(postgres_url)["dbname"], THE_UNRELEASED)
    database(change)
    said = refusal(lab)
    assert "only the whole 25 can be taken over" in said and "8165146" in said
    assert lab.run("db", "migrate", code=Exit.STORE).stderr.rstrip().endswith(said)


def test_one_of_a_newer_labmon_is_refused_by_migrate_too(lab, database):
    lab.run("db", "migrate")
    database("INSERT INTO labmon_schema (version, name) VALUES (9999, 'future')")
    said = refusal(lab)
    assert said.startswith("the database has schema version 9999") and said.endswith("Update labmon")
    assert lab.run("db", "migrate", code=Exit.STORE).stderr.rstrip().endswith(said)


def refusal(lab):
    """The one line with which every command refuses the database, `db status` like the others."""
    (said,) = lab.run("db", "status", code=Exit.STORE).stderr.splitlines()
    assert lab.run("systems", "list", code=Exit.STORE).stderr.splitlines() == [said]
    return said.removeprefix("labmon: ")


@pytest.mark.parametrize("dump", dumps.DUMPS, ids=lambda path: path.name)
def test_a_database_of_an_earlier_labmon_keeps_every_row_and_becomes_as_a_new_one_is(
    lab, postgres_server, dump
):
    with postgres_server.database() as old, postgres_server.database() as new:
        dumps.restore(postgres_server, old, dump)
        with psycopg.connect(postgres_server.url(old)) as connection:
            columns, before = dumps.columns(connection), dumps.contents(connection)
            connection.commit()
            lab.run("db", "migrate", LABMON_DATABASE_URL=postgres_server.url(old))
            assert dumps.contents(connection, columns) == before
            lab.run("db", "migrate", LABMON_DATABASE_URL=postgres_server.url(new))
            with psycopg.connect(postgres_server.url(new)) as fresh:
                dumps.grown_alike(fresh, postgres_server.url(new), connection)
            dumps.with_queue(postgres_server.url(old))
        kept, made = dumps.schema(postgres_server, old), dumps.schema(postgres_server, new)
        assert made - kept == set()
        assert sorted(one.partition(" RETURNS ")[0] for one in kept - made) == OF_OLD_WORKERS
        lab.run("systems", "list", LABMON_DATABASE_URL=postgres_server.url(old))
        lab.run("metrics", "latest", LABMON_DATABASE_URL=postgres_server.url(old))
