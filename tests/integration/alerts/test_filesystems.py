"""Rules about disk_percent look at every local file system, and name it."""

from labmon.alerts import incidents
from labmon.facts import Facts, FileSystem
from labmon.store.inventory.facts import record_facts
from tests.integration.alerts.conftest import NOON, minutes


def use(site, minute, system=1, **percents):
    """What the file systems of a machine say; root is "/"."""
    mounts = [
        FileSystem(
            mount="/" if name == "root" else f"/{name}",
            total_bytes=1000,
            used_bytes=int(percent * 10),
            used_percent=percent,
        )
        for name, percent in percents.items()
    ]
    record_facts(
        site.connection, [Facts(system_id=system, asked_at=NOON + minutes(minute), filesystems=mounts)]
    )


def test_a_full_file_system_is_named_and_the_others_are_left_alone(quiet):
    first, second = quiet.systems(2)
    quiet.another_rule(
        "disk_full", metric="disk_percent", threshold=97, clear_threshold=95, severity="critical"
    )
    use(quiet, 0, first, root=20, home=98, srv=50)
    use(quiet, 0, second, root=20, home=40)
    quiet.watch(0, 1, [first, second], disk_percent=20.0)
    (alert,) = quiet.told()
    assert (alert.system_id, alert.mount, alert.subject) == (first, "/home", "/home")
    assert (alert.alert_type, alert.rule, alert.value) == ("disk_full:/home", "disk_full", 98)
    (incident,) = incidents.standing(quiet.connection)
    assert (incident.mount, incident.subject, incident.value_now) == ("/home", "pc-1", 98)

    use(quiet, 2, first, root=20, home=98, srv=99)
    quiet.watch(2, 3, [first, second], disk_percent=20.0)
    assert [(one.state, one.mount) for one in quiet.told()] == [("firing", "/srv")]
    use(quiet, 4, first, root=20, home=60, srv=99)
    quiet.watch(4, 5, [first, second], disk_percent=20.0)
    assert [(one.state, one.mount) for one in quiet.told()] == [("resolved", "/home")]
    use(quiet, 6, first, root=20, home=60)
    quiet.watch(6, 7, [first, second], disk_percent=20.0)
    (over,) = quiet.told()
    assert (over.state, over.mount, over.reason) == ("resolved", "/srv", "no longer mounted")


def test_one_that_is_full_hides_no_other_and_the_root_is_told_once(quiet):
    (first,) = quiet.systems(1)
    quiet.another_rule("disk_high", metric="disk_percent", threshold=90, severity="warning")
    quiet.another_rule("disk_full", metric="disk_percent", threshold=97, severity="critical")
    use(quiet, 0, first, root=20, home=98, srv=92)
    quiet.watch(0, 1, [first], disk_percent=20.0)
    assert sorted((one.rule, one.mount) for one in quiet.told()) == [
        ("disk_full", "/home"),
        ("disk_high", "/srv"),
    ]
    use(quiet, 2, first, root=98, home=98, srv=92)
    quiet.watch(2, 3, [first], disk_percent=98.0)
    assert [(one.rule, one.mount, one.subject) for one in quiet.told()] == [("disk_full", "/", None)]


def test_a_use_that_stays_is_held_by_the_readings_that_follow(quiet):
    (first,) = quiet.systems(1)
    quiet.another_rule("disk_high", metric="disk_percent", threshold=90, hold=minutes(5))
    use(quiet, 0, first, home=95)
    quiet.watch(0, 4, [first])
    assert quiet.told() == []
    quiet.watch(5, 6, [first])
    assert [one.mount for one in quiet.told()] == ["/home"]


def test_one_that_stands_still_is_not_filling_and_one_that_grows_is(quiet):
    (first,) = quiet.systems(1)
    quiet.another_rule(
        "disk_filling",
        kind="rate",
        metric="disk_percent",
        comparison="<",
        threshold=24,
        clear_threshold=48,
        span=minutes(360),
    )
    for hour in range(7):
        use(quiet, hour * 60, first, root=20, home=60 + 3 * hour, srv=97)
        quiet.measure(hour * 60, [first], disk_percent=20.0)
        quiet.tick(hour * 60)
    told = quiet.told()
    assert {(one.state, one.mount) for one in told} == {("firing", "/home")}
    assert 5 < told[0].value < 14
    for hour in range(7, 16):
        quiet.measure(hour * 60, [first], disk_percent=20.0)
        quiet.tick(hour * 60)
    assert [(one.state, one.mount) for one in quiet.told()] == [("resolved", "/home")]
