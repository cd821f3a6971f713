"""One message must not make a whole inventory gone (findings B7)."""

from datetime import timedelta

import pytest

from labmon.messages import Discovery, ScanFinished, utcnow
from labmon.store.inventory.scans import FEW, record_scans, spans
from labmon.store.inventory.systems import record_discoveries

NOW = utcnow().replace(microsecond=0)


@pytest.fixture
def campus(connection):
    """200 machines, seen an hour ago; the lower the address, the longer ago."""
    connection.execute("INSERT INTO departments (dept_id) VALUES (1)")
    connection.execute(
        "INSERT INTO systems (dept_id, ip_address, last_seen) "
        "SELECT 1, '10.30.0.0'::inet + n, now() - interval '1 hour' + n * interval '1 second' "
        "FROM generate_series(1, 200) AS n"
    )
    return connection


def finished(scan_id, target_range="10.0.0.0/8", systems_found=0, **more):
    return ScanFinished(
        scan_id=scan_id,
        dept_id=1,
        scan_type="ping",
        target_range=target_range,
        started_at=NOW - timedelta(minutes=5),
        finished_at=NOW,
        systems_found=systems_found,
        status="completed",
        **more,
    )


def found(scan_id, numbers):
    return [
        Discovery(scan_id=scan_id, dept_id=1, ip_address=f"10.30.0.{n}", discovered_at=NOW, scan_type="ping")
        for n in numbers
    ]


def gone(connection):
    rows = connection.execute(
        "SELECT ip_address - '10.30.0.0'::inet FROM systems WHERE gone_since > last_seen ORDER BY ip_address"
    )
    return [row[0] for row in rows]


@pytest.mark.parametrize("claimed", [0, 200, 2**40])
def test_a_forged_end_of_a_scan_makes_at_most_a_few_gone_whatever_it_claims(campus, claimed, caplog):
    record_scans(campus, [finished(1, systems_found=claimed)])
    assert gone(campus) == list(range(1, FEW + 1))  # not seen for longest
    assert "scan 1: 200 machines did not answer, and only 10 of them are taken to be gone" in caplog.text
    (counted,) = campus.execute("SELECT systems_gone FROM scans WHERE scan_id = 1").fetchone()
    assert counted == FEW


def test_the_whole_of_the_address_space_makes_no_more_gone(campus):
    record_scans(campus, [finished(1, "0.0.0.0/0, ::/0")])
    assert len(gone(campus)) == FEW


def test_several_in_one_batch_make_a_few_gone_each(campus):
    record_scans(campus, [finished(n, "10.30.0.0/24") for n in (1, 2)])
    assert len(gone(campus)) <= 2 * FEW


def test_a_true_scan_makes_all_gone_that_did_not_answer(campus, caplog):
    record_discoveries(campus, found(1, range(1, 151)))
    record_scans(campus, [finished(1, "10.30.0.0/24", 150)])
    assert gone(campus) == list(range(151, 201))
    assert not caplog.text


def test_a_small_room_that_is_switched_off_is_gone_at_once(campus):
    record_scans(campus, [finished(1, "10.30.0.1-10.30.0.10")])
    assert gone(campus) == list(range(1, 11))


def test_after_a_power_cut_the_following_scans_do_the_rest(campus):
    for scan in range(1, 7):
        record_discoveries(campus, found(scan, range(1, 31)))
        record_scans(campus, [finished(scan, "10.30.0.0/24", 30)])
    assert gone(campus) == list(range(31, 201))


def test_what_a_scan_found_long_ago_counts_for_that_scan_alone(campus):
    record_discoveries(campus, found(1, range(1, 101)))
    record_scans(campus, [finished(1, "10.30.0.1-10.30.0.100", 100)])
    record_scans(campus, [finished(2, systems_found=100)])
    assert len(gone(campus)) == FEW


@pytest.mark.parametrize(
    "text", ["10.0.0.1" + " " * 16_000 + "x", "10.0.0.1 -" + " " * 16_000, " - " * 5_000]
)
def test_the_longest_of_ranges_is_read_in_no_time(text):
    """A quadratic pattern took seconds for such (findings B6)."""
    import time

    began = time.process_time()
    assert spans(text) is None
    assert time.process_time() - began < 0.3


@pytest.mark.parametrize(
    "text",
    ["10.0.0.1-10.0.0.9", "10.0.0.1 - 10.0.0.9", "10.0.0.1-9", " 10.0.0.1\t-  10.0.0.9 ", "10.0.0.1 -9"],
)
def test_a_range_may_be_written_with_spaces(text):
    ((first, last),) = spans(text)
    assert (str(first), str(last)) == ("10.0.0.1", "10.0.0.9")
