"""One alert for many that fall silent together, and who is told of it."""

from labmon.alerts import deliveries, incidents
from labmon.alerts.dry_run import example
from labmon.alerts.routing import route
from labmon.config.tables import NotifyTarget
from labmon.messages import OURSELVES
from labmon.store.inventory import maintenance
from labmon.store.inventory.maintenance import Scope
from tests.integration.alerts.conftest import minutes
from tests.integration.alerts.test_kinds import no_data


def fan_in(site, **columns):
    given = {
        "comparison": ">=",
        "threshold": 50,
        "clear_threshold": 20,
        "hold": minutes(2),
        "span": minutes(5),
    } | columns
    site.another_rule("lab_down", kind="lab_down", **given)
    site.another_rule("network_down", kind="network_down", **given)


def test_a_lab_that_loses_power_is_one_alert(quiet):
    lab = quiet.systems(10, lab=3)
    others = quiet.systems(30, lab=4, network="10.0.9")
    fan_in(quiet)
    no_data(quiet, hold=minutes(2))
    quiet.watch(0, 10, lab + others)
    quiet.watch(11, 60, others + lab[:1])
    (alert,) = quiet.told()
    assert (alert.alert_type, alert.system_id, alert.lab_id, alert.dept_id) == (
        "lab_down:lab 3",
        OURSELVES,
        3,
        1,
    )
    assert alert.covered == 9 and alert.covers == [f"pc-{n}" for n in range(2, 11)]
    assert alert.value == 90
    assert set(quiet.states(kind="no_data")) == {"firing"}

    # Back come all but one: that one is told for itself.
    quiet.watch(61, 70, others + lab[:9])
    assert sorted(quiet.news()) == [("firing", "no_data", lab[9]), ("resolved", "lab_down:lab 3", OURSELVES)]


def test_a_lab_that_was_down_when_it_closed_is_down_when_it_opens_and_nobody_is_told_again(quiet):
    lab, others = quiet.systems(5, lab=3), quiet.systems(20, lab=4, network="10.0.9")
    fan_in(quiet)
    no_data(quiet, hold=minutes(2))
    maintenance.add(quiet.connection, "skip", Scope(lab_id=3), weekly="Mon 13:00-15:00", timezone="UTC")
    quiet.watch(0, 10, lab + others)
    quiet.watch(11, 59, others)
    assert [one.alert_type for one in quiet.told()] == ["lab_down:lab 3"]
    quiet.watch(60, 220, others)
    assert quiet.told() == []
    quiet.watch(221, 225, lab + others)
    assert quiet.news() == [("resolved", "lab_down:lab 3", OURSELVES)]


def test_who_is_back_while_the_others_are_down_is_told_of_again(quiet):
    lab, others = quiet.systems(8, lab=3), quiet.systems(20, lab=4, network="10.0.9")
    fan_in(quiet)
    quiet.another_rule("hot")
    quiet.watch(0, 10, lab + others)
    quiet.watch(11, 30, others)
    assert [one.alert_type for one in quiet.told()] == ["lab_down:lab 3"]
    quiet.watch(31, 32, others)
    quiet.watch(33, 33, lab[:2], cpu_percent=99.0)
    assert sorted(quiet.news()) == [("firing", "hot", one) for one in lab[:2]]


def test_some_of_a_lab_are_each_their_own_alert(quiet):
    lab = quiet.systems(10, lab=3)
    fan_in(quiet)
    no_data(quiet)
    quiet.watch(0, 10, lab)
    quiet.watch(11, 40, lab[:6])
    assert sorted(quiet.news()) == [("firing", "no_data", one) for one in lab[6:]]


def test_those_that_were_off_for_long_do_not_count(quiet):
    """Seven off since the morning, then one more: that is no lab that went down."""
    lab = quiet.systems(10, lab=3)
    others = quiet.systems(10, lab=4, network="10.0.9")
    fan_in(quiet)
    quiet.watch(0, 10, lab + others)
    for n in range(7):  # one after the other, half an hour apart
        quiet.watch(11 + 30 * n, 40 + 30 * n, lab[n + 1 :] + others)
    assert quiet.told() == []
    quiet.watch(300, 330, others)  # but the three that are left are
    quiet.watch(331, 340, others)
    assert [one.covered for one in quiet.told()] == [3]


def test_a_network_is_named_when_more_than_one_lab_is_gone_with_it(quiet):
    quiet.connection.execute("INSERT INTO departments VALUES (1, NULL, NULL, '{10.0.0.0/23}')")
    one, two = quiet.systems(5, lab=3), quiet.systems(5, lab=4, network="10.0.1")
    others = quiet.systems(30, network="10.0.9")
    fan_in(quiet)
    no_data(quiet, hold=minutes(2))
    quiet.watch(0, 10, one + two + others)
    quiet.watch(11, 60, others)
    (alert,) = quiet.told()
    assert (alert.alert_type, alert.covered) == ("network_down:10.0.0.0/23", 10)


WHO = {
    "everybody": {},
    "physics": {"departments": [1]},
    "law": {"departments": [2]},
    "arts": {"departments": [3]},
    "lab 4": {"labs": [4]},
    "lab 9": {"labs": [9]},
}


def told_of(site, alert):
    """Who would be, of WHO."""
    (about,) = deliveries.whereabouts(site.connection, [alert])
    return chosen(alert, about.departments, about.labs)


def chosen(alert, departments, labs):
    targets = [
        NotifyTarget(name=name, url="https://hooks.example.edu", **lists) for name, lists in WHO.items()
    ]
    return [one.target.name for one in route(alert, departments, labs, targets) if one.notified]


def test_a_network_that_is_down_is_told_to_whoever_has_a_machine_in_it(quiet):
    """Theirs are muted under it, so they must hear of it."""
    quiet.connection.execute(
        "INSERT INTO departments (dept_id, name, subnets) "
        "VALUES (1, 'Physics', '{10.0.0.0/23}'), (2, 'Law', '{}'), (3, 'Arts', '{}')"
    )
    one, two = quiet.systems(5, lab=3), quiet.systems(5, lab=4, dept=2, network="10.0.1")
    others = quiet.systems(30, lab=9, dept=3, network="10.0.9")
    fan_in(quiet)
    no_data(quiet, hold=minutes(2))
    expected = example(quiet.connection, "network_down", two[0])
    assert chosen(expected.alert, expected.departments, expected.labs) == [
        *("everybody", "physics", "law", "lab 4")
    ]
    quiet.watch(0, 10, one + two + others)
    quiet.watch(11, 60, others)
    (alert,) = quiet.told()
    assert alert.alert_type == expected.alert.alert_type == "network_down:10.0.0.0/23"
    assert told_of(quiet, alert) == ["everybody", "physics", "law", "lab 4"]
    (about,) = deliveries.whereabouts(quiet.connection, [alert])
    assert (about.name, about.place) == ("10.0.0.0/23", "Law, Physics")
    for scope in (Scope(dept_id=2), Scope(lab_id=4), Scope(system_id=two[0])):
        found = incidents.standing(quiet.connection, scope)
        assert (alert.alert_id in {one.alert_id for one in found}) is True
    assert incidents.standing(quiet.connection, Scope(dept_id=3)) == []
    quiet.watch(61, 70, one + two + others)
    (over,) = quiet.told()
    assert told_of(quiet, over) == ["everybody", "physics", "law", "lab 4"]


def test_that_nobody_is_measured_is_told_to_whoever_has_machines(quiet):
    everybody = quiet.systems(20, lab=4) + quiet.systems(20, dept=2, network="10.0.1")
    quiet.systems(1, lab=9, dept=3)  # never measured
    quiet.another_rule("collector_down", kind="collector_down", threshold=600, hold=minutes(2))
    quiet.watch(0, 10, everybody)
    quiet.watch(11, 30, [])
    (alert,) = quiet.told()
    expected = example(quiet.connection, "collector_down", None)
    told = ["everybody", "physics", "law", "lab 4"]
    assert told_of(quiet, alert) == chosen(alert, expected.departments, expected.labs) == told


def test_a_lab_that_is_a_network_is_called_the_lab(quiet):
    lab, others = quiet.systems(5, lab=3), quiet.systems(20, network="10.0.9")
    fan_in(quiet)
    quiet.watch(0, 10, lab + others)
    quiet.watch(11, 30, others)
    assert [one.alert_type for one in quiet.told()] == ["lab_down:lab 3"]


def test_nearly_all_of_the_campus_is_one_alert(quiet):
    labs = [quiet.systems(8, lab=n, network=f"10.0.{n}") for n in range(1, 7)]
    (survivor,) = quiet.systems(1, network="10.9.9")
    everybody = [one for lab in labs for one in lab]
    fan_in(quiet)
    no_data(quiet, hold=minutes(2))
    quiet.watch(0, 10, [*everybody, survivor])
    quiet.watch(11, 60, [survivor])
    (alert,) = quiet.told()
    assert (alert.alert_type, alert.covered) == ("network_down:all networks", 48)
    quiet.watch(61, 70, [*everybody, survivor])
    assert quiet.news() == [("resolved", "network_down:all networks", OURSELVES)]
    assert {one["state"] for one in quiet.incidents()} == {"resolved"}


def test_the_whole_campus_gone_looks_like_the_collector_and_is_one_alert(quiet):
    everybody = quiet.systems(20, lab=1) + quiet.systems(20, lab=2, network="10.0.1")
    fan_in(quiet)
    no_data(quiet)
    quiet.another_rule("collector_down", kind="collector_down", threshold=600, hold=minutes(2))
    quiet.watch(0, 10, everybody)
    quiet.watch(11, 60, [])
    assert quiet.news() == [("firing", "collector_down", OURSELVES)]
    assert len(quiet.incidents()) == 1
    quiet.watch(61, 62, everybody)
    assert quiet.news() == [("resolved", "collector_down", OURSELVES)]
