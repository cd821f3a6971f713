from labmon.app.inventory.db import migrated
from labmon.store.migrate import BASELINE, Origin, Plan
from labmon.store.schema import File


def test_a_migration_says_what_it_did():
    assert list(migrated(Plan(Origin.BASELINE, [], []))) == ["the schema is up to date"]
    made = list(migrated(Plan(Origin.EMPTY, [], [File("rollups", b""), File("packing", b"")])))
    assert made[0] == f"made the tables (schema version {BASELINE})"
    assert "applied functions and views: rollups, packing" in made
    assert "took over the tables of an earlier labmon" in next(migrated(Plan(Origin.UNRELEASED, [], [])))
