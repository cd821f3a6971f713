"""What machines are, by the installed command: over real SSH, through a queue, and from another program."""

import csv
import io
import json
import os

import msgspec
import pytest

from labmon.app.inventory.facts import FACTS
from labmon.app.open import open_broker
from labmon.brokers.base import Message
from labmon.config.load import load
from tests.support.sshd import Sshd


@pytest.fixture
def machine(lab, postgres_url):
    """127.0.0.1 with a real sshd, in a store of its own."""
    (lab.folder / "image").write_text("lab image 7\n")
    with Sshd() as server:
        lab.environ |= {
            "LABMON_DATABASE_URL": postgres_url,
            "LABMON_COLLECT_KEY_FILES": str(server.key_file),
            "LABMON_COLLECT_PORT": str(server.port),
            "LABMON_COLLECT_USER": server.user,
            "LABMON_COLLECT_IMAGE_FILE": str(lab.folder / "image"),
        }
        lab.run("db", "migrate")
        lab.run("scan", "127.0.0.1", "--dept", "1", "--no-names")
        yield server


def rows(lab, *arguments):
    return json.loads(lab.run("systems", *arguments, "--format", "json").stdout)


def test_a_machine_is_asked_once_and_shown_searched_and_exported(lab, machine):
    assert "no facts yet" in lab.run("systems", "facts").stderr
    assert "1 of 1 measured, stored" in lab.run("collect", "--all").stderr
    (one,) = rows(lab, "facts")
    here = os.uname()
    assert (one["hostname"], one["kernel"], one["architecture"]) == (
        here.nodename,
        here.release,
        here.machine,
    )
    assert (one["cpu_threads"], one["image_version"]) == (os.cpu_count(), "lab image 7")
    assert one["ssh_server"].startswith("OpenSSH")
    assert one["name"] == here.nodename  # it had none

    shown = lab.run("systems", "show", "1").stdout
    assert one["os"] in shown and "Mount" in shown and one["kernel"] in shown
    (whole,) = rows(lab, "show", "1")
    assert whole["facts"]["kernel"] == here.release
    assert "/" in [disk["mount"] for disk in whole["filesystems"]]
    assert here.release in lab.run("systems", "facts", "1").stdout

    lines = list(csv.DictReader(io.StringIO(lab.run("systems", "facts", "--format", "csv").stdout)))
    assert set(FACTS) <= set(lines[0]) and lines[0]["kernel"] == here.release
    for where, many in (
        (["--where", f"os~{one['os'][:4].lower()}"], 1),
        (["--where", "os~plan 9"], 0),
        (["--where", "cpu_threads>0", "--where", "cpu_threads<100000"], 1),
        (["--where", "architecture!=" + here.machine], 0),
    ):
        assert len(rows(lab, "facts", *where)) == many
        assert len(rows(lab, "list", *where)) == many
    assert "kernel" in lab.run("systems", "list", "--where", "kernle~6", code=2).stderr
    assert "number" in lab.run("systems", "facts", "--where", "os>a", code=2).stderr
    assert "expected FACT" in lab.run("systems", "list", "--where", "Ubuntu", code=2).stderr

    # Once a day: the second run asks nothing, and nothing is new.
    (lab.folder / "image").write_text("lab image 8\n")
    lab.run("collect", "--all")
    assert rows(lab, "facts")[0] == one
    assert rows(lab, "facts", "--changed") == []
    (lab.folder / "state" / "facts").unlink()  # as if a day had passed
    lab.run("collect", "--all")
    (change,) = rows(lab, "facts", "--changed", "--from", "1h")
    assert (change["fact"], change["old_value"], change["new_value"]) == (
        "image_version",
        "lab image 7",
        "lab image 8",
    )
    lab.run("scan", "127.0.0.1", "--dept", "1", "--no-names")
    assert rows(lab, "list")[0]["hostname"] == here.nodename


def test_a_machine_that_was_restarted_is_asked_in_the_same_session(lab, machine):
    lab.run("collect", "--all")
    (lab.folder / "image").write_text("after the boot\n")
    state = lab.folder / "state" / "facts"
    known = msgspec.msgpack.decode(state.read_bytes())
    for entry in known.values():
        entry[1] = "0b5c0000-0000-4000-8000-000000000000"
    state.write_bytes(msgspec.msgpack.encode(known))
    lab.run("collect", "--all")
    assert rows(lab, "facts")[0]["image_version"] == "after the boot"


def test_they_are_not_asked_where_the_configuration_says_no(lab, machine):
    lab.run("collect", "--all", LABMON_COLLECT_FACTS="false")
    assert rows(lab, "facts") == []
    assert rows(lab, "show", "1")[0]["filesystems"]
    lab.run("collect", "--all", LABMON_COLLECT_IMAGE_FILE="image", code=2)


def test_through_the_queue_and_from_another_program(lab, machine):
    lab.environ |= {
        "LABMON_QUEUE_TYPE": "postgres",
        "LABMON_QUEUE_ENABLED": "true",
    }
    lab.run("setup-queues")
    lab.run("collect", "--all")
    assert rows(lab, "facts") == []
    body = {
        "system_id": 1,
        "asked_at": "2026-01-02T00:00:00Z",
        "facts": {"serial": "To be filled by O.E.M.", "model": "Optiplex 7010"},
    }
    schema = json.loads(lab.run("config", "schema", "facts").stdout)
    assert "asked_at" in json.dumps(schema)
    large = body | {"facts": {"os": "x" * 1_000_000}}
    with open_broker(load(environ=lab.environ).config) as broker:
        broker.publish(
            "discovery_queue",
            [
                Message("1", json.dumps(body).encode(), "discovery.facts"),
                Message("2", json.dumps(large).encode(), "discovery.facts"),
            ],
        )
    lab.run("consume", "--until-empty", code=None)
    (one,) = rows(lab, "facts")
    assert one["kernel"] == os.uname().release
    assert one["serial"] != "To be filled by O.E.M."
    dead = json.loads(lab.run("dead-letters", "list", "discovery", "--format", "json").stdout)
    assert [row for row in dead if "bytes are too many" in json.dumps(row)]
