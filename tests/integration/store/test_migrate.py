from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from labmon.errors import SchemaOutOfDate
from labmon.store import migrate


@pytest.fixture
def empty(postgres_server):
    with postgres_server.database() as name, psycopg.connect(postgres_server.url(name)) as connection:
        yield connection


def test_an_empty_database_gets_every_migration_once(empty):
    assert migrate.migrate(empty) == migrate.available()
    assert migrate.migrate(empty) == []
    assert [one.version for one in migrate.applied(empty)] == [one.version for one in migrate.available()]
    migrate.check(empty)


def test_migrations_are_numbered_from_one_without_gaps():
    versions = [one.version for one in migrate.available()]
    assert versions == list(range(1, len(versions) + 1))


def test_an_older_schema_is_refused_with_the_way_out(empty):
    with pytest.raises(SchemaOutOfDate, match="labmon db migrate"):
        migrate.check(empty)


def test_a_newer_schema_is_refused(empty):
    migrate.migrate(empty)
    empty.execute("INSERT INTO labmon_schema (version, name) VALUES (9999, 'future')")
    with pytest.raises(SchemaOutOfDate, match="Update labmon"):
        migrate.check(empty)


def test_a_failing_migration_leaves_nothing_behind(empty, monkeypatch):
    broken = [*migrate.available(), migrate.Migration(9998, "broken", "SELECT 1/0")]
    monkeypatch.setattr(migrate, "available", lambda: broken)
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate.migrate(empty)
    assert migrate.applied(empty) == []


def test_two_processes_may_migrate_at_once(postgres_server):
    with postgres_server.database() as name:

        def run(_):
            with psycopg.connect(postgres_server.url(name)) as connection:
                return len(migrate.migrate(connection))

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(run, range(2))) == [0, len(migrate.available())]


def test_what_earlier_scans_asked_is_kept(empty, monkeypatch):
    every = migrate.available()
    monkeypatch.setattr(migrate, "available", lambda: every[:4])
    migrate.migrate(empty)
    empty.execute("INSERT INTO departments VALUES (1)")
    for scan, addresses in enumerate(("{[167772161,167772170),[167772180,167772181)}", None), 1):
        empty.execute(
            "INSERT INTO scans (scan_id, dept_id, scan_type, target_range, started_at, finished_at, "
            "systems_found, status, addresses) "
            "VALUES (%s, 1, 'ping', 'as below', now(), now(), 0, 'completed', %s)",
            [scan, addresses],
        )
    monkeypatch.setattr(migrate, "available", lambda: every)
    migrate.migrate(empty)
    rows = empty.execute("SELECT addresses::text FROM scans ORDER BY scan_id").fetchall()
    assert [row[0] for row in rows] == ["{[10.0.0.1,10.0.0.9],[10.0.0.20,10.0.0.20]}", None]
