from dataclasses import fields

from labmon.app.alerts.maintenance import MaintenanceRow, described
from labmon.store.inventory.maintenance import Maintenance

NONE = {field.name: None for field in fields(Maintenance)}


def test_a_question_names_what_it_is_about():
    planned = Maintenance(**NONE | {"maintenance_id": 4, "mode": "skip", "lab_id": 3, "weekly": "Sat-Sun"})
    silence = Maintenance(**NONE | {"maintenance_id": 5, "mode": "silence", "rule": "hot", "comment": "fan"})
    assert described(planned) == "maintenance 4 (lab 3, Sat-Sun)"
    assert described(silence) == "silence 5 (hot, all, fan)"


def test_a_row_has_the_scope_in_words():
    one = Maintenance(**NONE | {"maintenance_id": 4, "mode": "skip", "system_id": 42, "active": True})
    assert (MaintenanceRow.of(one).scope, MaintenanceRow.of(one).active) == ("system 42", True)
