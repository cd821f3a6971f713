"""`labmon systems set --seat` and `labmon alerts unack`, as a user runs them."""

import json

from tests.integration.store.test_commands import labmon

__all__ = ["labmon"]


def test_a_seat_is_set_shown_and_taken_away(labmon, connection, fleet):
    connection.execute("INSERT INTO labs (lab_id, dept_id, name) VALUES (1, 1, 'A-101')")
    connection.commit()
    labmon("systems", "set", "1", "--lab", "A-101", "--seat", "3,2")
    shown = json.loads(labmon("systems", "list", "--format", "json").stdout)
    assert (shown[0]["seat_column"], shown[0]["seat_row"]) == (3, 2)
    for seat in ("3", "0,1", "3,2,1", "a,b", "1,1001", "٣,٢"):
        assert "expected column and row" in labmon("systems", "set", "1", "--seat", seat, code=2).stderr
    assert "one system" in labmon("systems", "set", "1", "2", "--seat", "1,1", code=2).stderr
    labmon("systems", "set", "1", "--no-seat")
    assert json.loads(labmon("systems", "show", "1", "--format", "json").stdout)[0]["seat_row"] is None


def test_an_acknowledgement_is_taken_back(labmon, connection, fleet):
    connection.execute(
        "INSERT INTO alert_incidents (alert_type, kind, system_id, severity, value, threshold, since, "
        "last_at, fired_at, told) "
        "VALUES ('hot', 'threshold', 1, 'warning', 99, 90, now(), now(), now(), 'firing')"
    )
    connection.commit()
    labmon("alerts", "ack", "1", "--comment", "on it")
    assert "no longer acknowledged: 1" in labmon("alerts", "unack", "1").stderr
    assert "not acknowledged: 1, 7" in labmon("alerts", "unack", "1", "7", code=2).stderr
