"""The SQL of examples/database is enough and no more; what it does not grant is refused with exit code 3."""

import json
from pathlib import Path

import psycopg
import pytest

from labmon.store.migrate import available
from tests.acceptance.conftest import temporary_lab
from tests.conftest import started
from tests.support.servers import PostgresServer
from tests.support.sshd import Sshd

EXAMPLE = Path(__file__).parents[2] / "examples/database"


class SitesServer(PostgresServer):
    """One on which nobody is called labmon yet."""

    USER = "administrator"

    def run_file(self, name, database):
        """Run a file of the example as the server's administrator, statement by statement as psql does."""
        for statement in (EXAMPLE / name).read_text().split(";"):
            if statement.strip():
                self.execute(statement, database)

    def role_url(self, role):
        return f"postgresql://{role}:change-me@127.0.0.1:{self.port}/labmon"


@pytest.fixture(scope="module")
def site():
    for server in started(SitesServer):
        server.run_file("role.sql", "postgres")
        yield server


@pytest.fixture(scope="module")
def owner(site):
    """A lab whose database belongs to the role that role.sql makes, with a machine that can be measured."""
    with temporary_lab() as lab:
        lab.environ["LABMON_DATABASE_URL"] = site.role_url("labmon")
        for sshd in started(Sshd):
            lab.environ |= {
                "LABMON_COLLECT_PORT": str(sshd.port),
                "LABMON_COLLECT_USER": sshd.user,
                "LABMON_COLLECT_KEY_FILES": str(sshd.key_file),
            }
            for command in ("db migrate", "setup-queues", "scan 127.0.0.1 --dept 1"):
                lab.run(*command.split())
            yield lab


@pytest.fixture(scope="module")
def viewer_may_look(site, owner):
    site.run_file("viewer.sql", "labmon")


@pytest.fixture
def viewer(site, owner, viewer_may_look):
    """The same lab as seen by the role that viewer.sql makes."""
    owner.environ["LABMON_DATABASE_URL"] = site.role_url("viewer")
    yield owner
    owner.environ["LABMON_DATABASE_URL"] = site.role_url("labmon")


def test_the_role_may_do_all_that_labmon_does(owner):  # findings C5
    owner.run("collect", "--all")
    owner.run("collect", "--all", "--queue-enabled")
    assert "metrics_queue: 1 stored" in owner.run("consume", "--until-empty").stderr
    owner.run("db", "maintain")
    owner.run("labs", "set", "A-101", "--dept", "1", "--add", "127.0.0.1")
    owner.run("alerts", "rules", "set", "cpu_high", "--above", "90")
    assert "127.0.0.1" in owner.run("metrics", "latest").stdout


def test_the_role_has_no_more_than_that(site, owner):  # findings C5
    with psycopg.connect(site.socket_conninfo("labmon")) as connection:
        (rights,) = connection.execute(
            "SELECT ARRAY[rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls] "
            "FROM pg_roles WHERE rolname = 'labmon'"
        ).fetchone()
        assert rights == [False] * 5
        connection.execute("CREATE ROLE stranger LOGIN")
        may = connection.execute("SELECT has_database_privilege('stranger', 'labmon', 'CONNECT')").fetchone()
        assert may == (False,)
        connection.rollback()


@pytest.mark.parametrize(
    "command",
    ["systems list", "systems history", "metrics latest", "alerts list", "events show", "labs list",
     "db status", "queue-depth"],
)  # fmt: skip
def test_the_viewer_may_look(viewer, command):  # findings C5
    viewer.run(*command.split())


@pytest.mark.parametrize(
    "command",
    ["labs set A-102 --dept 1", "systems set 1 --port 22", "alerts silence --rule cpu_hot --for 1h",
     "scan 127.0.0.1 --dept 1", "collect --all --retry-all", "consume --until-empty", "db maintain"],
)  # fmt: skip
def test_the_viewer_is_refused_to_write_and_told_what_to_grant(viewer, command):  # findings C5
    done = viewer.run(*command.split(), code=3)
    line = done.stderr.strip().splitlines()[-1]
    assert "permission denied" in line or "must be owner" in line
    assert "GRANT " in line or "owns the database" in line


def test_what_the_viewer_measured_is_kept_and_the_exit_code_asks_for_help(viewer, site):  # findings C5
    viewer.run("collect", "--all", "--retry-all", code=3)
    assert json.loads(viewer.run("spool", "status", "--format", "json").stdout)["messages"] >= 1
    viewer.environ["LABMON_DATABASE_URL"] = site.role_url("labmon")
    viewer.run("collect", "--all", "--retry-all")
    assert json.loads(viewer.run("spool", "status", "--format", "json").stdout)["messages"] == 0


def test_new_partitions_can_be_read_by_the_viewer(viewer, site):  # findings C5
    with psycopg.connect(site.role_url("labmon")) as connection:
        connection.execute("CREATE TABLE made_later (a int)")
        (may_read,) = connection.execute(
            "SELECT has_table_privilege('viewer', 'made_later', 'SELECT')"
        ).fetchone()
        connection.rollback()
    assert may_read


@pytest.mark.parametrize("table", ["users", "web_sessions", "web_tokens"])
def test_who_may_log_in_to_the_dashboard_is_not_for_the_viewer(viewer, site, table):
    with psycopg.connect(site.role_url("viewer")) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"SELECT * FROM {table}")


def test_a_database_whose_viewer_may_read_every_new_table_keeps_these_from_it(site, owner, viewer_may_look):
    """As where viewer.sql was run before there was a dashboard."""
    migration = next(one for one in available() if one.name == "accounts")
    with psycopg.connect(site.role_url("labmon")) as connection:
        connection.execute("DROP TABLE web_tokens, web_sessions, users, audit")
        connection.execute(migration.sql)
        rights = connection.execute(
            "SELECT name, has_table_privilege('viewer', name, 'SELECT'), "
            "has_table_privilege('labmon', name, 'INSERT') "
            "FROM unnest(ARRAY['users', 'web_sessions', 'web_tokens', 'audit']) AS name"
        ).fetchall()
        connection.rollback()
    assert rights == [
        ("users", False, True),
        ("web_sessions", False, True),
        ("web_tokens", False, True),
        ("audit", True, True),
    ]


def test_a_role_that_may_not_even_connect_is_told_so(viewer, site):  # findings C5
    site.execute("DROP ROLE IF EXISTS stranger")
    site.execute("CREATE ROLE stranger LOGIN PASSWORD 'change-me'")
    viewer.environ["LABMON_DATABASE_URL"] = site.role_url("stranger")
    done = viewer.run("systems", "list", code=3)
    assert done.stderr.endswith("GRANT CONNECT ON DATABASE labmon TO stranger\n")
    assert done.stderr.count("\n") == 1
