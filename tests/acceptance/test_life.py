"""The life of a system through the installed command: out, in, changed, one of two, apart again, gone."""

import json
import re

import psycopg
import pytest

from labmon.demo.sshd import DemoServer
from tests.acceptance.conftest import LABMON
from tests.support import netns


@pytest.fixture
def site(lab, postgres_server, schema_template):
    """A lab whose store is a server that network namespaces can reach too."""
    lab.environ["LABMON_SCAN_NAMES"] = "false"
    with postgres_server.database(schema_template) as name:
        lab.environ["LABMON_DATABASE_URL"] = postgres_server.socket_url(name)
        yield lab


@pytest.fixture
def machines(site):
    """Systems 1 to 3 at 127.0.0.1 to 127.0.0.3, of which the first two can be measured."""
    site.environ["LABMON_COLLECT_KEY_FILES"] = str(site.folder / "key")
    with DemoServer(["127.0.0.1", "127.0.0.2"], key_file=site.folder / "key") as server:
        site.environ["LABMON_COLLECT_PORT"] = str(server.port)
        site.run("scan", "127.0.0.1-3", "--dept", "1")
        yield server


def listed(site, *arguments):
    rows = json.loads(site.run("systems", "list", "-f", "json", *arguments).stdout)
    return {row["system_id"]: row["status"] for row in rows}


def changes(site, system):
    rows = json.loads(site.run("systems", "history", system, "-f", "json").stdout)
    return [(row["change"], row["new_value"]) for row in rows]


def query(site, text):
    with psycopg.connect(site.environ["LABMON_DATABASE_URL"]) as connection:
        return connection.execute(text).fetchall()


def test_retired_is_kept_not_measured_and_back_after_undo(site, machines):
    site.run("collect", "--system", "1")
    done = site.run("systems", "retire", "1", "3", "--comment", "sold")
    assert done.stderr == "system 1: retired\nsystem 3: retired\n"
    assert listed(site) == {2: "discovered"}
    assert listed(site, "--status", "retired") == {1: "retired", 3: "retired"}
    assert len(listed(site, "--all")) == 3
    assert "1 of 1 measured" in site.run("collect", "--all").stderr
    refused = site.run("collect", "--system", "1", code=2).stderr
    assert "there is no system 1 to measure" in refused and "retired" in refused
    shown = site.run("systems", "show", "1").stdout
    assert "kept with its history, and not measured" in shown and "sold" in shown
    said = site.run("scan", "127.0.0.1-3", "--dept", "1").stderr  # with the name that it told, if it has one
    assert re.search(r"^system 1( \([^)]+\))? is retired, and answered at 127\.0\.0\.1$", said, re.M)
    assert changes(site, 1)[-1] == ("answered", "127.0.0.1")

    done = site.run("systems", "undo", "1")
    assert done.stderr.startswith("system 1: retire of 20") and "is undone: active again" in done.stderr
    assert listed(site)[1] == "active"
    assert "nothing is left to undo for system 1" in site.run("systems", "undo", "1", code=2).stderr
    site.run("systems", "restore", "3")
    assert listed(site)[3] == "discovered"
    actions = query(site, "SELECT action, object FROM audit ORDER BY audit_id")
    assert actions == [
        ("systems.retire", "system 1"),
        ("systems.retire", "system 3"),
        ("systems.undo", "system 1"),
        ("systems.restore", "system 3"),
    ]


def test_ignored_is_passed_over_and_hidden(site, machines):
    site.run("systems", "ignore", "2")
    said = site.run("scan", "127.0.0.1-3", "--dept", "1").stderr
    assert "0 new, 0 moved, 0 gone" in said and "system 2" not in said
    assert 2 not in listed(site)
    report = site.run("labs", "list").stdout + site.run("metrics", "latest").stdout
    assert "127.0.0.2" not in report


def test_what_is_found_in_quarantine_waits_for_accept(site):
    done = site.run("departments", "set", "1", "--new-as", "quarantine")
    assert "what scans find waits in quarantine" in done.stderr
    said = site.run("scan", "127.0.0.1-3", "--dept", "1").stderr
    assert "3 systems wait in quarantine. Let them in: labmon systems accept --dept 1" in said
    assert listed(site) == {}
    assert set(listed(site, "--status", "quarantined").values()) == {"quarantined"}
    assert (
        "let in what waits with: labmon systems accept" in site.run("collect", "--dept", "1", code=2).stderr
    )
    assert site.run("systems", "accept", "2").stderr == "system 2: discovered\n"
    assert listed(site) == {2: "discovered"}
    said = site.run("scan", "127.0.0.4", "--dept", "1", "--new-as", "active").stderr
    assert "2 systems wait" in said
    assert listed(site) == {2: "discovered", 4: "discovered"}
    assert len(site.run("systems", "accept", "--all").stderr.splitlines()) == 2
    assert "no system waits in quarantine" in site.run("systems", "accept", "--dept", "1").stderr
    assert "say which" in site.run("systems", "accept", code=2).stderr
    refused = site.run("scan", "127.0.0.5", "--dept", "1", "--new-as", "active", "--queue-enabled", code=2)
    assert "labmon systems accept" in refused.stderr


def test_new_as_quarantine_goes_through_the_queue(site):
    site.run("setup-queues")
    site.run("scan", "127.0.0.1-2", "--dept", "1", "--new-as", "quarantine", "--queue-enabled")
    site.run("consume", "--until-empty")
    assert listed(site, "--all") == {1: "quarantined", 2: "quarantined"}


def test_set_account_key_and_port_are_used_to_log_in(site, machines, tmp_path):
    key = site.folder / "own_key"
    with DemoServer(["127.0.0.3"], key_file=key) as server:
        site.run("systems", "set", "3", "--port", server.port, "--key", key, "--user", "keeper")
        done = site.run("collect", "--all")
    assert "3 of 3 measured" in done.stderr
    shown = json.loads(site.run("systems", "list", "-f", "json").stdout)[2]
    assert (shown["ssh_user"], shown["ssh_key"]) == ("keeper", str(key))
    site.run("systems", "set", "3", "--key", "", "--user", "", "--port", "0")
    assert "1 refused" in site.run("collect", "--system", "3", code=6).stderr
    assert "is no whole path" in site.run("systems", "set", "3", "--key", "id_rsa", code=2).stderr
    assert "is no account" in site.run("systems", "set", "3", "--user", "a b", code=2).stderr


def test_a_seat_taken_twice_and_a_merge_with_itself_are_refused(site, machines):
    site.run("labs", "set", "A-101", "--dept", "1", "--add", "127.0.0.1-3")
    site.run("systems", "set", "1", "--seat", "3,2", "--hostname", "desk")
    refused = site.run("systems", "set", "2", "--seat", "3,2", code=2).stderr
    assert "seat 3,2 of lab A-101 is that of system 1 (desk)" in refused
    refused = site.run("systems", "merge", "1", "1", code=2).stderr
    assert "system 1 cannot be merged with itself" in refused
    assert "there is no system 99" in site.run("systems", "merge", "1", "99", code=2).stderr
    # the seat of a retired machine is free for the one that replaces it
    site.run("systems", "retire", "1")
    site.run("systems", "set", "2", "--seat", "3,2")
    assert "without its seat 3,2, which system 2 has now" in site.run("systems", "restore", "1").stderr
    site.run("systems", "set", "1", "--hostname", "", "--no-lab")
    (one,) = (r for r in json.loads(site.run("systems", "list", "-f", "json").stdout) if r["system_id"] == 1)
    assert (one["hostname"], one["lab"]) == (None, None)


def test_merged_is_one_history_and_split_is_two_again(site, machines):
    site.run("collect", "--all", code=6)
    site.run("collect", "--all")
    before = dict(query(site, "SELECT system_id, count(*) FROM metrics GROUP BY 1"))
    assert before == {1: 2, 2: 2}
    done = site.run("systems", "merge", "1", "2", "-f", "json")
    (outcome,) = json.loads(done.stdout)
    assert outcome["done"] and outcome["notes"][0].startswith("2 readings, ")
    assert list(listed(site, "--all")) == [1, 3]
    assert "system 2 is part of system 1 now" in site.run("systems", "show", "2", code=2).stderr
    assert query(site, "SELECT count(*) FROM metrics WHERE system_id = 1") == [(4,)]
    said = site.run("systems", "split", "1").stderr
    assert re.search(r"system 2 \(([^,)]+, )?127\.0\.0\.2\) is a system of its own again$", said, re.M)
    assert list(listed(site)) == [1, 2, 3]
    assert dict(query(site, "SELECT system_id, count(*) FROM metrics GROUP BY 1")) == before
    assert [change for change, _ in changes(site, 1)][-2:] == ["merged", "split"]


def test_remove_asks_says_what_goes_and_cannot_be_undone(site, machines):
    site.run("collect", "--system", "1")
    refused = site.run("systems", "remove", "1", code=2).stderr
    assert "with system 1 go: 1 reading," in refused and "Confirm with --yes" in refused
    assert 1 in listed(site)
    done = site.run("systems", "remove", "1", "--yes").stderr
    assert done.startswith("removed system 1, and 1 reading,")
    assert 1 not in listed(site, "--all")
    assert query(site, "SELECT count(*) FROM metrics") == [(0,)]
    assert "there is no system 1" in site.run("systems", "undo", "1", code=2).stderr
    assert "1 new" in site.run("scan", "127.0.0.1", "--dept", "1").stderr
    assert 4 in listed(site)


def test_real_machines_answer_after_they_were_retired_and_give_their_address_on(site):
    netns.require()
    with netns.pair() as (near, far):

        def scan():
            done = near.run(LABMON, "scan", "10.77.0.0/24", "--dept", "1", env=site.env, check=False)
            assert done.returncode == 0, done.stderr
            return done.stderr

        def plug(card, address):
            far.run("ip", "address", "flush", "dev", card)
            if address:
                far.run("ip", "address", "add", f"{address}/32", "dev", card)

        for name in ("all", "default"):
            far.sysctl(f"net.ipv4.conf.{name}.arp_ignore=1")
        for card, mac in (("pc-a", "f0:de:f1:00:00:0a"), ("pc-b", "f0:de:f1:00:00:0b")):
            far.run(*f"ip link add link cable name {card} address {mac} type macvlan mode bridge".split())
            far.run("ip", "link", "set", card, "up")
        plug("pc-a", "10.77.0.11")
        plug("pc-b", "10.77.0.12")
        scan()
        rows = json.loads(site.run("systems", "list", "-f", "json").stdout)
        number = {row["ip_address"]: row["system_id"] for row in rows}
        retired, other = number["10.77.0.11"], number["10.77.0.12"]
        site.run("systems", "retire", retired)
        assert f"system {retired} is retired, and answered at 10.77.0.11" in scan()
        plug("pc-a", "10.77.0.99")  # the same machine elsewhere
        said = scan()
        assert f"system {retired} is retired, and answered at 10.77.0.99" in said
        assert "0 new, 0 moved, 0 gone" in said
        plug("pc-a", None)
        plug("pc-b", "10.77.0.99")  # another machine at its address
        said = scan()
        assert "0 new, 1 moved, 0 gone" in said and "is retired" not in said
        far.run("ip", "link", "set", "pc-a", "address", "f0:de:f1:00:00:0c")
        plug("pc-a", "10.77.0.11")
        assert "1 new, 0 moved, 0 gone" in scan()
        assert listed(site, "--all")[retired] == "retired"
        assert listed(site)[other] == "discovered"
