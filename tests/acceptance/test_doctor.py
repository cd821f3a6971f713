"""`labmon doctor` where something is broken: the culprit is named, and nothing else is blamed for it."""

import json

import psycopg
import pytest

from labmon.errors import Exit


def problems(lab, code, **environ):
    found = json.loads(lab.run("doctor", "--format", "json", code=code, **environ).stdout)
    return {one["check"]: one["said"] for one in found if one["state"] == "problem"}


@pytest.fixture
def by_password(lab):
    (lab.folder / "password").write_text("secret\n")
    lab.environ["LABMON_COLLECT_PASSWORD_FILE"] = str(lab.folder / "password")


def test_an_older_schema_is_one_problem_that_says_how_to_mend_it(lab, by_password, postgres_server):
    with postgres_server.database() as name:
        lab.environ["LABMON_DATABASE_URL"] = postgres_server.url(name)
        ((check, said),) = problems(lab, Exit.STORE, QUEUE_TYPE="postgres").items()
        assert check == "database"
        assert "labmon db migrate" in said
        with psycopg.connect(postgres_server.url(name)) as connection:
            assert connection.execute("SELECT to_regclass('systems')").fetchone() == (None,)


def test_a_state_folder_that_cannot_be_is_a_problem_of_the_spool(lab, by_password, store_url):
    (lab.folder / "file").touch()
    found = problems(
        lab, Exit.PERMISSION, LABMON_STATE_DIR=f"{lab.folder}/file", LABMON_DATABASE_URL=store_url
    )
    assert found == {"spool": f"{lab.folder}/file cannot be written. Choose another place with [state] dir"}
