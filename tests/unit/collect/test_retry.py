import random
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labmon.collect.failures import Failure, one_line, os_failure, timed_out
from labmon.collect.once import Result, Target
from labmon.collect.retry import REFRESH, RetrySchedule
from labmon.config.tables import CollectConfig
from labmon.config.units import Seconds
from labmon.fleet import Fleet, Machine
from labmon.messages import LINE, Readings, SystemStatus, decode, encode

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
REFUSED = Failure("refused", "nothing listens on that port")
SILENT = timed_out(20, "connecting").failure


def after(seconds=0.0, **more):
    return NOON + timedelta(seconds=seconds, **more)


def machine(number, *, lab=None, seen_at=None):
    address = f"10.0.{number // 250}.{number % 250 + 1}"
    return Machine(address=address, system_id=number, lab_id=lab, seen_at=seen_at)


def fleet(*machines):
    return Fleet(NOON, machines)


def result(number, failure=None):
    target = Target("10.0.0.1", 22, number)
    if failure:
        return Result(target, None, None, failure, 0.1)
    return Result(target, Readings(load1=1.0), NOON, None, 0.1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "retry.json"


def by_port(target):
    """A fingerprint of a connection where only the port may change."""
    return f"port {target.port}"


def lane(path, *machines, first=60, longest=1800, fingerprint=by_port, uniform=lambda low, high: high):
    made = RetrySchedule(
        path,
        CollectConfig(retry_first=Seconds(first), retry_max=Seconds(longest)),
        fingerprint,
        uniform=uniform,
    )
    made.update(fleet(*machines))
    return made


def test_the_same_number_is_another_machine_in_another_database(path):
    with lane(path, machine(1), machine(2)) as one:
        one.record(result(1, REFUSED), NOON)
    other = RetrySchedule(path, CollectConfig(), by_port)
    other.update(Fleet(NOON, [machine(1), machine(2)], inventory="another"))
    assert ids(other.due([machine(1), machine(2)], NOON).now) == [1, 2]
    other.record(result(2, REFUSED), NOON)
    other.save()
    again = RetrySchedule(path, CollectConfig(), by_port)
    again.update(Fleet(NOON, [machine(1), machine(2)], inventory="another"))
    assert ids(again.due([machine(1), machine(2)], NOON).now) == [1]


def ids(machines):
    return [one.system_id for one in machines]


def test_whoever_has_not_failed_is_always_due(path):
    one = lane(path, machine(1), machine(2))
    assert one.record(result(1), NOON) is None
    assert one.due([machine(1), machine(2), Machine(address="10.9.9.9")], NOON) == (
        *([machine(1), machine(2), Machine(address="10.9.9.9")], 0, None),
    )
    one.save()
    assert not path.exists()


def test_each_failure_doubles_the_wait_up_to_the_longest_one(path):
    one = lane(path, machine(1))
    now, waits = NOON, []
    for _ in range(8):
        one.record(result(1, REFUSED), now)
        due = one.due([machine(1)], now)
        assert (due.now, due.later) == ([], 1)
        waits.append((due.next_at - now).total_seconds())
        now = due.next_at
        assert ids(one.due([machine(1)], now).now) == [1]
    assert waits == [60, 120, 240, 480, 960, 1800, 1800, 1800]


def test_a_success_ends_it_and_the_next_failure_begins_anew(path):
    one = lane(path, machine(1))
    one.record(result(1, REFUSED), NOON)
    one.record(result(1, REFUSED), after(60))
    assert one.record(result(1), after(180)) == SystemStatus(
        system_id=1, status="active", since=after(180), checked_at=after(180)
    )
    assert len(one) == 0
    one.record(result(1, REFUSED), after(240))
    assert one.due([machine(1)], after(240)).next_at == after(300)


def test_a_change_is_told_once_and_again_after_a_while_for_a_lost_message(path):
    one = lane(path, machine(1))
    first = one.record(result(1, REFUSED), NOON)
    assert first == SystemStatus(
        system_id=1, status="refused", since=NOON, checked_at=NOON, error=f"refused: {REFUSED.detail}"
    )
    assert one.record(result(1, REFUSED), after(60)) is None
    changed = one.record(result(1, Failure("auth failed", "no key")), after(120))
    assert (changed.status, changed.since) == ("auth failed", after(120))
    other_error = one.record(result(1, Failure("auth failed", "no password")), after(180))
    assert (other_error.since, other_error.error) == (after(120), "auth failed: no password")
    assert one.record(result(1, Failure("auth failed", "no password")), after(240)) is None
    again = one.record(result(1, Failure("auth failed", "no password")), after(180) + REFRESH)
    assert (again.since, again.checked_at) == (after(120), after(180) + REFRESH)


@pytest.mark.parametrize(
    "failure, status",
    [
        (SILENT, "offline"),
        (timed_out(20, "connecting through bastion gate").failure, "offline"),
        (timed_out(20, "logging in").failure, "timed out"),
        (os_failure(OSError(113, "No route to host"), "connecting").failure, "offline"),
        (os_failure(OSError(101, "Network is unreachable"), "connecting").failure, "unreachable"),
        (os_failure(ConnectionRefusedError(111, "Connection refused"), "connecting").failure, "refused"),
        (Failure("auth failed", "no key"), "auth failed"),
        (Failure("host key changed", "by whom?"), "failed"),
        (Failure("no ssh", "it says 'HTTP'"), "failed"),
        (Failure("probe failed", "x" * 300), "failed"),
    ],
)
def test_what_a_failure_says_about_the_machine(path, failure, status):
    told = lane(path, machine(1)).record(result(1, failure), NOON)
    assert told.status == status
    assert told.error == one_line(f"{failure.reason}: {failure.detail}", LINE)
    assert msgspec.convert(msgspec.to_builtins(told), SystemStatus) == told


def test_a_reason_too_long_for_the_message_shows_that_it_goes_on(path):
    told = lane(path, machine(1)).record(result(1, Failure("host key changed", "x" * 300)), NOON)
    assert decode(SystemStatus, encode(told)).error.endswith("xx...")


def test_our_own_fault_is_not_held_against_the_machine(path):
    one = lane(path, machine(1))
    assert one.record(result(1, Failure("local error", "too many open files")), NOON) is None
    assert ids(one.due([machine(1)], NOON).now) == [1]


def test_an_address_without_a_system_is_not_remembered(path):
    one = lane(path)
    assert one.record(result(None, REFUSED), NOON) is None
    assert len(one) == 0


def test_who_was_seen_since_is_due_at_once_and_from_the_beginning(path):
    one = lane(path, machine(1, seen_at=after(hours=-1)))
    for n in range(5):
        one.record(result(1, REFUSED), after(n))
    one.update(fleet(machine(1, seen_at=after(2))))  # before it failed the last time
    assert one.due([machine(1)], after(10)).now == []
    one.update(fleet(machine(1, seen_at=after(9))))
    assert ids(one.due([machine(1)], after(10)).now) == [1]
    told = one.record(result(1, REFUSED), after(10))
    assert (told.since, told.checked_at) == (NOON, after(10))  # the store may have thought it well
    one.update(fleet(machine(1, seen_at=after(9))))
    assert one.due([machine(1)], after(11)).next_at == after(70)


def test_a_machine_whose_clock_is_ahead_is_not_seen_again_and_again(path):
    ahead = machine(1, seen_at=after(minutes=4))
    one = lane(path, ahead)
    one.record(result(1, REFUSED), NOON)
    one.update(fleet(ahead))
    assert one.due([ahead], after(1)).later == 1


def test_a_lab_that_is_switched_on_is_tried_as_soon_as_one_of_its_machines_is_back(path):
    lab = [machine(n, lab=7) for n in range(1, 5)]
    others = [machine(n, lab=8) for n in range(5, 7)]
    one = lane(path, *lab, *others)
    for each in [*lab[:3], *others]:
        for n in range(6):
            one.record(result(each.system_id, SILENT), after(n))
    one.record(result(4, REFUSED), after(5))  # it was on all the time
    one.update(fleet(*lab, *others))
    assert one.due([*lab, *others], after(30)).now == []
    one.record(result(1), after(30))
    assert ids(one.due([*lab, *others], after(30)).now) == [1, 2, 3]
    for number in (2, 3):
        one.record(result(number, SILENT), after(31))
    assert one.due(lab[1:3], after(31)).next_at == after(31 + 1800)  # their waits are as long as before


def test_without_a_lab_the_subnet_stands_for_it():
    assert machine(1).neighbourhood == machine(2).neighbourhood == "10.0.0.0/24"
    assert machine(300).neighbourhood == "10.0.1.0/24"
    assert Machine(address="2001:db8::1:2:3:4").neighbourhood == "2001:db8::/64"


def test_it_is_remembered_from_run_to_run_and_for_known_machines_only(path):
    with lane(path, machine(1), machine(2)) as one:
        one.record(result(1, REFUSED), NOON)
        one.record(result(2, REFUSED), NOON)
    again = lane(path, machine(1))
    assert len(again) == 1
    assert again.due([machine(1)], after(1)).next_at == after(60)
    assert again.record(result(1, REFUSED), after(60)) is None
    again.record(result(1), after(180))
    again.save()
    assert len(lane(path, machine(1), machine(2))) == 0


def test_runs_over_different_machines_at_the_same_time_keep_each_other_s_failures(path):
    machines = [machine(1), machine(2), machine(3)]
    with lane(path, *machines) as before:
        before.record(result(3, REFUSED), NOON)
    one, other = lane(path, *machines), lane(path, *machines)
    one.record(result(1, REFUSED), NOON)
    other.record(result(2, REFUSED), NOON)
    one.record(result(3), after(1))
    one.save()
    other.save()
    other.save()
    assert ids(lane(path, *machines).due(machines, after(1)).now) == [3]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"1": {}}', b"\xff\xfe", b'{"x": 5}'])
def test_a_file_that_cannot_be_read_is_as_good_as_none(path, content):
    path.write_bytes(content)
    one = lane(path, machine(1))
    assert ids(one.due([machine(1)], NOON).now) == [1]
    one.record(result(1, REFUSED), NOON)
    one.save()
    assert len(lane(path, machine(1))) == 1


def test_a_disk_that_takes_nothing_costs_no_measurement(tmp_path):
    (tmp_path / "state").write_text("no folder")
    one = lane(tmp_path / "state" / "retry.json", machine(1))
    one.record(result(1, REFUSED), NOON)
    one.save()


def test_another_connection_is_tried_at_once_and_its_backoff_starts_again(path):  # findings A16
    with lane(path, machine(1), machine(2)) as one:
        for n in range(5):
            one.record(result(1, REFUSED), after(n))
            one.record(result(2, REFUSED), after(n))
    other = lane(
        path, machine(1), machine(2), fingerprint=lambda one: "else" * (one.system_id == 1) or by_port(one)
    )
    assert ids(other.due([machine(1), machine(2)], after(5)).now) == [1]
    other.record(result(1, REFUSED), after(5))
    assert other.due([machine(1)], after(5)).next_at == after(65)


def test_only_machines_that_wait_are_asked_for_their_connection(path):
    asked = []
    one = lane(path, machine(1), machine(2), fingerprint=lambda target: asked.append(target.system_id) or "")
    one.record(result(1, REFUSED), NOON)
    one.record(result(2), NOON)
    one.due([machine(1), machine(2)], after(1))
    one.due([machine(1), machine(2)], after(61))
    assert asked == [1, 1]


def test_a_machine_with_another_port_in_the_inventory_is_tried_at_once(path):
    with lane(path, machine(1)) as one:
        one.record(result(1, REFUSED), NOON)
        moved = msgspec.structs.replace(machine(1), port=2222)
        assert ids(one.due([moved], after(1)).now) == [1]


def test_an_error_that_is_not_unicode_can_be_kept_and_sent(path):
    with lane(path, machine(1)) as one:
        told = one.record(result(1, Failure("probe failed", "caf\udce9")), NOON)
    assert decode(SystemStatus, encode(told)).error == "probe failed: caf?"


def test_retrying_all_forgets_the_waits(path):
    one = lane(path, machine(1), machine(2))
    for number in (1, 2):
        for n in range(5):
            one.record(result(number, REFUSED), after(n))
    one.retry([machine(1)])
    assert ids(one.due([machine(1), machine(2)], after(5)).now) == [1]
    one.record(result(1, REFUSED), after(5))
    assert one.due([machine(1)], after(5)).next_at == after(65)


def test_a_clock_that_is_set_back_and_a_shorter_limit_make_nobody_wait(path):
    with lane(path, machine(1)) as one:
        for n in range(9):
            one.record(result(1, REFUSED), after(n))
        assert ids(one.due([machine(1)], after(hours=-5)).now) == [1]
    assert lane(path, machine(1), longest=120).due([machine(1)], after(9)).next_at == after(8 + 120)
    assert ids(lane(path, machine(1), longest=0).due([machine(1)], after(9)).now) == [1]


steps = st.lists(
    st.tuples(
        st.floats(0.001, 4000),  # seconds until the next round
        st.dictionaries(st.integers(1, 6), st.sampled_from([None, REFUSED, SILENT])),  # others: silent
        st.sets(st.integers(1, 6)),  # whom a scan has seen
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(steps, st.integers(0, 10_000), st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_nobody_is_forgotten_and_no_wait_is_longer_than_the_limit(
    tmp_path_factory, rounds, first, longest, chance
):
    path = tmp_path_factory.mktemp("lane") / "retry.json"
    now, seen, failed_at, waited = NOON, {}, {}, {}
    for pause, outcomes, sighted in rounds:
        now += timedelta(seconds=pause)
        seen |= dict.fromkeys(sighted, now)
        machines = [machine(n, lab=n % 2 + 1, seen_at=seen.get(n)) for n in range(1, 7)]
        with lane(path, *machines, first=first, longest=longest, uniform=chance.uniform) as one:
            due = one.due(machines, now)
            tried = set(ids(due.now))
            assert len(tried) + due.later == 6
            for number in range(1, 7):
                if number not in tried:
                    assert number in failed_at, "only who failed is left out"
                    assert now - failed_at[number] < timedelta(seconds=longest)
                    assert now < due.next_at + timedelta(seconds=longest)
            assert sighted <= tried, "a scan makes it due"
            for number in tried:
                failure = outcomes.get(number, SILENT)
                told = one.record(result(number, failure), now)
                was = waited.pop(number, None)
                if failure is None:
                    assert (told is not None) == (number in failed_at)
                    failed_at.pop(number, None)
                    continue
                failed_at[number] = now
                wait = one.due([machine(number)], now).next_at
                waited[number] = (wait - now).total_seconds() if wait else 0.0
                assert waited[number] <= longest
                if was and number not in sighted and was < 0.75 * longest:
                    assert waited[number] > was, "it grows"
            assert len(one) == len(failed_at) <= 6


def test_those_that_failed_together_drift_apart(path):
    machines = [machine(n) for n in range(1, 101)]
    one = lane(path, *machines, uniform=random.Random(1).uniform)
    for each in machines:
        one.record(result(each.system_id, SILENT), NOON)
    dues = {one.due([each], NOON).next_at for each in machines}
    assert len(dues) == 100
    assert after(45) <= min(dues) < max(dues) <= after(60)


def test_a_night_of_a_thousand_machines_costs_what_the_module_says(path):
    """1,000 machines off for ten hours, looked at every minute; then a lab of 30 is switched on."""
    machines = [machine(n, lab=n // 30) for n in range(1, 1001)]
    one = lane(path, *machines, uniform=random.Random(1).uniform)
    tries = 0
    for minute in range(600):
        now = after(60 * minute)
        one.update(fleet(*machines))
        for each in one.due(machines, now).now:
            one.record(result(each.system_id, SILENT), now)
            tries += minute >= 120
    assert tries / 480 == pytest.approx(38, rel=0.1)  # per minute, once the intervals have grown

    back, minute = set(), 600
    while len(back) < 30:
        now = after(60 * minute)
        one.update(fleet(*machines))
        for each in one.due([each for each in machines if each.lab_id == 5], now).now:
            one.record(result(each.system_id), now)
            back.add(each.system_id)
        minute += 1
    assert minute - 600 <= 6
