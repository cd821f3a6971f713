"""A host, and what is told about it."""

from datetime import UTC, datetime

from labmon.messages import Discovery
from labmon.scan.host import Host
from labmon.scan.progress import Progress

AT = datetime(2025, 11, 25, 10, 30, tzinfo=UTC)


def test_its_message_has_the_fields_of_the_guide():
    host = Host("10.30.5.10", "tcp/445", AT, rtt=0.002, port_open=True, hostname="lab-pc-01")
    assert host.discovery(scan_id=123, dept_id=1) == Discovery(
        scan_id=123,
        dept_id=1,
        ip_address="10.30.5.10",
        hostname="lab-pc-01",
        mac_address=None,
        discovered_at=AT,
        scan_type="tcp",
    )


def test_a_ping_is_a_ping():
    assert Host("10.30.5.10", "ping", AT).scan_type == "ping"


def test_refusals_are_told_by_reason():
    progress = Progress()
    progress.refused = {f"10.30.5.{n}": "Network is unreachable" for n in range(1, 1235)}
    progress.refused["10.30.6.1"] = "Operation not permitted"
    assert progress.refusals() == [
        "1,234 addresses could not be asked, such as 10.30.5.1234: Network is unreachable",
        "10.30.6.1 could not be asked: Operation not permitted",
    ]
