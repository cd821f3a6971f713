"""Looking at the queues, and at what could not be stored."""

import json
import signal
import time

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from labmon.errors import Exit
from tests.support.receiver import Receiver

READING = '{"system_id": %s, "collected_at": "2026-01-01T00:00:%02dZ", "metrics": {"cpu_percent": 5}}'


@pytest.fixture
def broker_lab(lab, store_url):
    """A lab on a server, with a machine numbered 1 and the queues made."""
    lab.environ["LABMON_DATABASE_URL"] = store_url
    lab.run("setup-queues")
    lab.run("scan", "127.0.0.1", "--dept", "1")
    return lab


@pytest.fixture
def publish(broker_lab):
    with psycopg.connect(broker_lab.environ["LABMON_DATABASE_URL"], autocommit=True) as connection:

        def put(*bodies, queue="metrics_queue"):
            for body in bodies:
                connection.execute("SELECT labmon_publish(%s, %s)", [queue, body])

        yield put


def dead(lab, *options):
    done = lab.run("dead-letters", "list", "metrics", "--format", "json", *options)
    return json.loads(done.stdout)


def test_setting_up_says_what_it_would_do_and_then_what_it_did(lab):
    assert lab.run("setup-queues", "--dry-run").stderr.count("would be made") == 3
    assert lab.run("setup-queues", "--dry-run").stderr.count("would be made") == 3
    assert lab.run("setup-queues").stderr.count(": made") == 3
    assert lab.run("setup-queues", "--dry-run").stderr.count("was there") == 3


def test_the_exit_code_is_that_of_a_monitoring_plugin(broker_lab, publish):
    limits = {"LABMON_QUEUE_DEPTH_WARNING": "2", "LABMON_QUEUE_DEPTH_CRITICAL": "4"}
    publish(*["{}"] * 2)
    broker_lab.run("queue-depth", code=0, **limits)
    publish("{}")
    assert "add consumers" in broker_lab.run("queue-depth", code=1, **limits).stdout
    publish(*["{}"] * 2)
    assert "alert operations" in broker_lab.run("queue-depth", code=2, **limits).stdout


def test_prometheus_can_read_it(broker_lab, publish):
    publish("{}", "{}")
    families = text_string_to_metric_families(broker_lab.run("queue-depth", "--prometheus").stdout)
    values = {(one.name, one.labels["queue"]): one.value for family in families for one in family.samples}
    assert values["labmon_queue_ready", "metrics_queue"] == 2
    assert values["labmon_queue_dead", "alert_queue"] == 0
    assert values["labmon_queue_oldest_age_seconds", "metrics_queue"] >= 0


def test_watching_goes_on_until_it_is_interrupted(broker_lab, publish):
    publish("{}")
    with broker_lab.start("queue-depth", "--watch", "--interval", "0.2") as watch:
        lines = iter(watch.stdout.readline, "")
        seen = [next(line for line in lines if "metrics_queue" in line) for _ in range(3)]
        watch.send_signal(signal.SIGINT)
        out, _ = watch.communicate(timeout=30)
    assert watch.returncode == 130
    assert "\x1b" not in "".join([*seen, out])


def test_a_backlog_is_told_although_nobody_consumes(broker_lab, publish):
    """From cron, with no worker alive: by the rule, once, and told of its end."""
    broker_lab.run("alerts", "rules", "set", "queue_backlog", "--above", "2", "--clear", "1", "--for", "1s")
    with Receiver() as receiver:
        broker_lab.environ["LABMON_NOTIFY_TARGETS"] = f'[{{name = "hook", url = "{receiver.url}"}}]'
        publish(*["{}"] * 3)
        broker_lab.run("queue-depth")
        broker_lab.run("queue-depth", "--alert")
        assert receiver.alerts == []
        time.sleep(1.1)
        broker_lab.run("queue-depth", "--alert")
        broker_lab.run("queue-depth", "--alert")
        assert receiver.alerts == [(0, "queue_backlog:metrics_queue", "firing")]
        broker_lab.run("consume", "--until-empty", "--queue", "metrics", code=Exit.SOME_FAILED)
        broker_lab.run("queue-depth", "--alert", code=1)  # of the dead letters that they have become
        time.sleep(1.1)
        broker_lab.run("queue-depth", "--alert", code=1)
    assert receiver.alerts[1:] == [(0, "queue_backlog:metrics_queue", "resolved")]


def test_dead_letters_are_listed_shown_replayed_and_dropped(broker_lab, publish):
    publish("not json", READING % (7, 1), READING % (8, 2), READING % (1, 3))
    said = broker_lab.run("consume", "--until-empty", code=Exit.SOME_FAILED).stderr
    assert "1 stored, 3 to the dead letters" in said
    assert "done in part: 3 messages to the dead letters. See: labmon dead-letters list metrics_queue" in said

    letters = dead(broker_lab)
    assert len(letters) == 3
    assert letters[0]["reason"].startswith("undecodable: not JSON")
    assert [one["id"] for one in dead(broker_lab, "--reason", "unknown system")] == [
        one["id"] for one in letters[1:]
    ]
    assert len(dead(broker_lab, "--limit", "1")) == 1
    assert "unknown system" in broker_lab.run("dead-letters", "list", "metrics").stdout

    shown = broker_lab.run("dead-letters", "show", "metrics", letters[1]["id"]).stdout
    assert "unknown system: system_id 7" in shown
    assert READING % (7, 1) in shown

    replay = ["dead-letters", "replay", "metrics", "--reason", "unknown system"]
    assert "2 would go back" in broker_lab.run(*replay, "--dry-run").stderr
    assert len(dead(broker_lab)) == 3
    with psycopg.connect(broker_lab.environ["LABMON_DATABASE_URL"]) as connection:
        connection.execute("INSERT INTO systems (system_id, dept_id) VALUES (7, 1)")
    assert "1 back in" in broker_lab.run(*replay, "--limit", "1").stderr
    assert "1 stored" in broker_lab.run("consume", "--until-empty").stderr
    assert len(dead(broker_lab)) == 2

    assert "--yes" in broker_lab.run("dead-letters", "purge", "metrics", code=2).stderr
    assert (
        "1 dead letter deleted"
        in broker_lab.run("dead-letters", "purge", "metrics", "--yes", "--reason", "unknown").stderr
    )
    assert [one["reason"].split(":")[0] for one in dead(broker_lab)] == ["undecodable"]


def test_what_a_sender_wrote_does_not_act_on_the_terminal(broker_lab, publish):
    publish('{"system_id": "\x1b[31mred\x07"}')
    broker_lab.run("consume", "--until-empty", "--quiet", code=Exit.SOME_FAILED)
    (letter,) = dead(broker_lab)
    for arguments in (["list", "metrics"], ["show", "metrics", letter["id"]]):
        out = broker_lab.run("dead-letters", *arguments).stdout
        assert "\x1b" not in out
        assert "\x07" not in out


def test_an_old_measurement_expires_when_told_so(broker_lab, publish):
    publish(READING % (1, 1))
    time.sleep(1.2)
    done = broker_lab.run("consume", "--until-empty", code=Exit.SOME_FAILED, LABMON_QUEUE_TTL="1s")
    assert "metrics_queue: 0 stored, 1 to the dead letters" in done.stderr
    assert [one["reason"] for one in dead(broker_lab)] == ["expired"]


def test_the_doctor_says_what_is_in_place_and_what_is_not(broker_lab, publish):
    key = {"LABMON_COLLECT_PASSWORD_FILE": str(broker_lab.folder / "password")}
    (broker_lab.folder / "password").write_text("hunter2\n")

    def findings(code=0, **environ):
        done = broker_lab.run("doctor", "-f", "json", code=code, **key | environ)
        assert "hunter2" not in done.stdout + done.stderr
        return {(one["check"], one["state"]): one["said"] for one in json.loads(done.stdout)}

    assert {check for check, state in findings() if state == "ok"} >= {
        "database",
        "queue",
        "spool",
        "collect",
    }
    publish("not json")
    broker_lab.run("consume", "--until-empty", code=Exit.SOME_FAILED)
    assert "1 dead letter in metrics_queue" in findings()["queue", "note"]
    away = {"QUEUE_HOST": "127.0.0.1", "QUEUE_PORT": "1"}
    broker_lab.run("scan", "127.0.0.1", "--dept", "1", "--queue-enabled", **away)
    found = findings(code=4, **away)
    assert "127.0.0.1" in found["queue", "problem"]
    assert "labmon spool flush" in found["spool", "note"]
    assert ("database", "problem") in findings(code=5, LABMON_DATABASE_URL="postgresql://127.0.0.1:1/x")
