"""A server that answers and takes nothing: the reason is named, by every command that looks at it."""

import json
import re
import signal
import time

import psycopg
import pytest

from labmon.errors import Exit
from tests.support.redis_server import RedisServer

DAMAGES = {
    "replicas": ([("CONFIG", "SET", "min-replicas-to-write", "1")], "NOREPLICAS", "Start its replicas"),
    "replica": ([("REPLICAOF", "127.0.0.1", "1")], "READONLY|read only replica", "name the primary"),
    "full": (
        [("CONFIG", "SET", "maxmemory-policy", "noeviction"), ("CONFIG", "SET", "maxmemory", "1")],
        "maxmemory",
        "raise its maxmemory",
    ),
}


@pytest.fixture
def redis_lab(lab, store_url, own_redis_server):
    lab.environ |= {
        "LABMON_DATABASE_URL": store_url,
        "LABMON_COLLECT_PASSWORD": "x",
        "QUEUE_TYPE": "redis",
        "QUEUE_HOST": "127.0.0.1",
        "QUEUE_PORT": str(own_redis_server.port),
        "QUEUE_PASSWORD": RedisServer.PASSWORD,
    }
    lab.run("setup-queues")
    return own_redis_server


def check(lab, reason, step):
    done = lab.run("setup-queues", code=Exit.BROKER)
    assert re.search(reason, done.stderr) and step in done.stderr.splitlines()[-1]
    done = lab.run("queue-depth", code=2)
    assert "metrics_queue" in done.stdout
    assert re.search(reason, done.stderr) and step in done.stderr
    found = json.loads(lab.run("doctor", "--format", "json", code=Exit.BROKER).stdout)
    (said,) = [one["said"] for one in found if one["check"] == "queue" and one["state"] == "problem"]
    assert said.startswith("takes no messages: ") and step in said
    assert not [one for one in found if one["check"] == "workers" and one["state"] == "problem"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_redis_that_refuses_writes_is_a_problem_everywhere(lab, redis_lab, damage):
    commands, reason, step = DAMAGES[damage]
    with psycopg.connect(lab.environ["LABMON_DATABASE_URL"]) as connection:
        connection.execute(
            "INSERT INTO workers (host, main_pid, number, queue, pid, state, state_since, stored, rejected, "
            "per_second, restarts, started_at, beat_at) VALUES ('elsewhere', 7, 1, 'metrics_queue', 7, "
            "'idle', now(), 0, 0, 0, 0, now(), now())"
        )
    for command in commands:
        redis_lab.cli(*command)
    check(lab, reason, step)


def test_a_redis_that_cannot_save_is_a_problem_everywhere(lab, redis_lab):
    redis_lab.cli("CONFIG", "SET", "save", "3600 1")
    (redis_lab.folder / "dump.rdb").mkdir()
    redis_lab.cli("BGSAVE")
    deadline = time.monotonic() + 20
    while "rdb_last_bgsave_status:err" not in redis_lab.cli("INFO", "persistence"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    check(lab, "MISCONF", "make room")


def test_an_account_that_only_publishes_is_told_nothing_of_it(lab, redis_lab):
    redis_lab.cli(
        *("ACL", "SETUSER", "publisher", "on", ">secret", "~*", "+@all", "-xgroup|create"),
    )
    environ = {"QUEUE_USER": "publisher", "QUEUE_PASSWORD": "secret"}
    assert "takes no messages" not in lab.run("queue-depth", **environ).stderr


@pytest.fixture
def limited(lab, store_url, postgres_server):
    """A role of its own with rights on the store, which the tests may restrict."""
    (name,) = re.findall(r"/(test_\d+)$", store_url)
    role = f"worker_{name}"
    postgres_server.execute(f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'secret'")
    lab.environ["LABMON_DATABASE_URL"] = f"postgresql://{role}:secret@127.0.0.1:{postgres_server.port}/{name}"
    lab.environ["LABMON_COLLECT_PASSWORD"] = "x"
    lab.environ["LABMON_DATABASE_CONNECT_TIMEOUT"] = "3"
    try:
        yield lambda statement: postgres_server.execute(statement.format(role=role, name=name))
    finally:
        postgres_server.execute(f"ALTER ROLE {role} RENAME TO gone_{role}")


@pytest.mark.parametrize(
    "statement, queue_says, hint",
    [
        (
            "ALTER ROLE {role} NOSUPERUSER CONNECTION LIMIT 0",
            "too many connections for role",
            "CONNECTION LIMIT",
        ),
        ("ALTER DATABASE {name} CONNECTION LIMIT 0", "too many connections for database", "CONNECTION LIMIT"),
    ],
)
def test_no_connection_left_is_no_question_whether_it_runs(lab, limited, statement, queue_says, hint):
    lab.run("setup-queues")
    limited("ALTER ROLE {role} NOSUPERUSER")
    limited(statement)
    for command in ("queue-depth", "systems list", "consume --until-empty", "setup-queues"):
        said = lab.run(*command.split(), code=Exit.STORE).stderr
        assert queue_says in said and hint in said, said
        assert "running?" not in said, said


@pytest.mark.parametrize("level", ["ROLE {role}", "DATABASE {name}"])
def test_a_read_only_queue_database_is_no_question_whether_it_runs(lab, limited, level):
    lab.run("setup-queues")
    limited(f"ALTER {level} SET default_transaction_read_only = on")
    done = lab.run("queue-depth", code=2)
    assert "read-only" in done.stderr and "default_transaction_read_only is on" in done.stderr
    for command in ("setup-queues", "labs set A-1 --dept 1", "dead-letters purge metrics --yes"):
        said = lab.run(*command.split(), code=None).stderr
        assert "running?" not in said, said
    found = json.loads(lab.run("doctor", "--format", "json", code=None).stdout)
    assert [one["state"] for one in found if one["check"] == "queue"][0] == "problem"


@pytest.mark.parametrize("setting", ["statement_timeout = '1ms'", "lock_timeout = '1ms'"])
def test_short_timeouts_of_the_role_do_not_matter(lab, limited, setting):
    limited("ALTER ROLE {role} SET " + setting)
    lab.run("setup-queues")
    lab.run("systems", "list")
    lab.run("queue-depth")


def test_a_command_that_waits_for_a_lock_ends_with_one_line_of_its_own(lab, store_url):
    lab.environ["LABMON_DATABASE_URL"] = store_url
    with psycopg.connect(store_url) as holder:
        holder.execute("INSERT INTO departments (dept_id) VALUES (1)")
        holder.execute("LOCK TABLE departments IN ACCESS EXCLUSIVE MODE")

        def waiters():
            """A server notices only at the end of a wait that the client has left."""
            return {row[0] for row in holder.execute("SELECT pid FROM pg_locks WHERE NOT granted")}

        for number in (signal.SIGTERM, signal.SIGINT):
            before = waiters()
            with lab.start("departments", "set", "2", "--name", "Botany") as waiting:
                deadline = time.monotonic() + 30
                while not waiters() - before:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
                waiting.send_signal(number)
                _, said = waiting.communicate(timeout=30)
            assert waiting.returncode == 128 + number
            assert len(said.splitlines()) <= 1 and "psycopg" not in said, said
