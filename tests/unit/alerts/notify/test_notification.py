import dataclasses

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from labmon.alerts.notify.notification import LISTED, Notification
from tests.unit.alerts.deliveries import NOON, delivery


def of(*deliveries):
    return Notification.of("admins", deliveries)


def test_one_alert_is_its_own_title():
    one = of(delivery(1))
    assert one.rendered.title == "warning: cpu_high on pc-42, 95.5"
    assert one.rendered.text.startswith("warning: cpu_high on pc-42, A-101: 95.5 (limit 90), 2026-03-02 ")
    assert one.severity == "warning"


def test_many_are_counted_the_worst_first_and_the_ends_last():
    one = of(
        delivery(1, system=1, state="resolved"),
        delivery(2, system=2, severity="info"),
        delivery(3, system=3, severity="critical"),
        delivery(4, system=4, severity="critical"),
    )
    assert one.rendered.title == "2 critical, 1 info, 1 resolved in A-101"
    assert [line.partition(":")[0] for line in one.rendered.text.splitlines()] == [
        "critical",
        "critical",
        "info",
        "resolved",
    ]
    assert one.severity == "critical"


def test_only_the_newest_word_on_an_alert_is_told():
    one = of(delivery(1), delivery(2, state="resolved", minutes=5), delivery(3, kind="ram_high"))
    assert [each.delivery_id for each in one.current] == [3, 2]
    assert [each.delivery_id for each in one.superseded] == [1]
    assert of(delivery(1), delivery(2, state="resolved", minutes=5)).severity == "resolved"


def test_a_long_list_is_cut_and_the_rest_counted_but_programs_get_all_of_it():
    one = of(*(delivery(n, system=n) for n in range(1, 2001)))
    lines = one.rendered.text.splitlines()
    assert len(lines) == LISTED + 1
    assert lines[-1] == f"and {2000 - LISTED} more: labmon alerts list"
    assert one.rendered.title == "2000 warning in A-101"
    assert len(one.body(NOON)["alerts"]) == 2000


def test_a_place_is_named_only_when_it_is_everybodys():
    assert of(delivery(1, system=1), delivery(2, system=2, place="B-2")).rendered.title == "2 warning"


def test_the_same_again_has_the_same_key_and_more_has_another():
    assert of(delivery(1)).key == of(delivery(1)).key
    assert of(delivery(1)).key != of(delivery(1), delivery(2, system=5)).key


def test_programs_get_the_message_as_it_was_published():
    (alert,) = of(delivery(1)).body(NOON)["alerts"]
    assert alert == {
        "system_id": 42,
        "alert_type": "cpu_high",
        "severity": "warning",
        "value": 95.5,
        "threshold": 90.0,
        "timestamp": NOON.isoformat().replace("+00:00", "Z"),
        "about": "pc-42",
        "place": "A-101",
        "value_text": "95.5",
        "limit_text": "90",
    }


def test_an_alert_about_many_names_some_of_them_and_one_with_a_note_says_what_to_do():
    names = [f"pc-{n}" for n in range(1, 41)]
    told = delivery(1, system=0, kind="lab_down", severity="critical")
    alert = msgspec.structs.replace(
        told.alert, subject="A-101", covers=names, covered=40, note="call the porter", since=NOON, repeat=2
    )
    one = of(dataclasses.replace(told, alert=alert, about="A-101"))
    assert one.rendered.title == "critical: lab_down on A-101, 95.5"
    first, systems, note = one.rendered.text.splitlines()
    assert first.startswith("critical: still lab_down on A-101: 95.5 (limit 90), since 2026-03-02 ")
    assert systems == f"  systems: {', '.join(names[:12])} and 28 more"
    assert note == "  call the porter"


def test_incidents_are_told_apart_by_their_number_and_labs_by_their_name():
    down = [delivery(n, system=0, kind="lab_down") for n in (1, 2)]
    labs = [
        dataclasses.replace(one, alert=msgspec.structs.replace(one.alert, subject=lab))
        for one, lab in zip(down, ("A-101", "B-2"), strict=True)
    ]
    assert of(*labs).superseded == ()
    again = [
        dataclasses.replace(one, alert=msgspec.structs.replace(one.alert, alert_id=number))
        for number, one in enumerate((delivery(1), delivery(2, minutes=1)), 1)
    ]
    assert of(*again).superseded == ()


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.sampled_from(["firing", "resolved"]), st.integers(0, 9)), min_size=1
    )
)
def test_every_delivery_is_told_or_superseded_once_and_the_newest_wins(words):
    made = [
        delivery(number, system=system, state=state, minutes=minutes)
        for number, (system, state, minutes) in enumerate(words)
    ]
    one = of(*made)
    assert sorted(one.ids) == list(range(len(made)))
    newest = {each.alert.system_id: each.alert.at for each in one.current}
    assert len(newest) == len(one.current)
    assert all(newest[each.alert.system_id] >= each.alert.at for each in one.superseded)
