from labmon.app.scan.rows import COLUMNS, Found, answered, words
from labmon.messages import utcnow
from labmon.scan.host import Host
from labmon.scan.targets.target_set import parse
from labmon.store.inventory.history import Change


def test_a_row_names_each_way_of_answering_once():
    host = Host("10.0.0.1", "ping", utcnow(), also=("tcp/22", "tcp/80"), ports=(22, 80))
    row = Found.of(host)
    shown = {column.field: column for column in COLUMNS}
    assert shown["seen_by"].show("ping, tcp/22, tcp/80") == "ping, tcp"
    assert (row.ports, shown["ports"].show(row.ports)) == ([22, 80], "22 80")
    assert Found.of(Host("10.0.0.2", "arp", utcnow())).ports is None


def test_the_closing_line_counts_addresses():
    hosts = [Host("10.0.0.1", "ping", utcnow())]
    assert answered(hosts, parse(["10.0.0.0/30"], max_hosts=10)) == "1 of 2 addresses answered"


def test_a_change_is_one_line_without_control_characters():
    change = Change(utcnow(), 7, "pc-7\x1b[2J", "10.0.0.9", "moved", "10.0.0.1", "10.0.0.9", 1, None)
    assert words(change).startswith("moved    pc-7") and "\x1b" not in words(change)
    assert words(change).endswith("(system 7): 10.0.0.1 -> 10.0.0.9")
    unnamed = Change(utcnow(), 8, None, "10.0.0.8", "found", None, "10.0.0.8", 1, None)
    assert words(unnamed) == "new      system 8: 10.0.0.8"
