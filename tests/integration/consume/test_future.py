"""What comes from tomorrow would be newer than everything that comes until then, so none of it is stored."""

from datetime import timedelta

import msgspec
import pytest

from labmon.app.open import ingest_settings
from labmon.ingest.handlers import handlers
from labmon.messages import Alert, Discovery, Metrics, Readings, ScanFinished, SystemStatus, encode, utcnow

NOW = utcnow().replace(microsecond=0)
DISCOVERY = Discovery(scan_id=1, dept_id=1, ip_address="10.0.0.9", discovered_at=NOW, scan_type="ping")
FINISHED = ScanFinished(
    scan_id=1,
    dept_id=1,
    scan_type="ping",
    target_range="10.0.0.0/24",
    started_at=NOW,
    finished_at=NOW,
    systems_found=1,
    status="completed",
)
STATUS = SystemStatus(system_id=42, status="offline", since=NOW, checked_at=NOW)
METRICS = Metrics(system_id=42, collected_at=NOW, metrics=Readings(load1=1.0))
ALERT = Alert(system_id=42, alert_type="x", severity="info", value=1, threshold=1, at=NOW)


@pytest.mark.parametrize(
    "queue, table, one, field",
    [
        ("discovery_queue", "systems WHERE ip_address = '10.0.0.9'", DISCOVERY, "discovered_at"),
        ("discovery_queue", "scans", FINISHED, "finished_at"),
        ("discovery_queue", "systems WHERE status = 'offline'", STATUS, "checked_at"),
        ("metrics_queue", "metrics", METRICS, "collected_at"),
        ("alert_queue", "alerts", ALERT, "at"),
    ],
)
def test_a_time_in_the_far_future_is_a_dead_letter_that_names_it_and_the_rest_is_stored(
    config, connection, queue, table, one, field
):
    connection.execute("INSERT INTO departments (dept_id) VALUES (1)")
    connection.execute("INSERT INTO systems (system_id, dept_id) VALUES (42, 1)")
    handle = handlers(ingest_settings(config))[queue]
    later = msgspec.structs.replace(one, **{field: NOW + timedelta(hours=2)})
    ((place, rejection),) = handle(connection, [encode(later), encode(one)]).items()
    assert place == 0
    assert rejection.reason.endswith("is in the future: a wrong clock")
    assert rejection.reason.startswith("timestamp " if field == "at" else field)
    assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,)
    assert handle(connection, [encode(one)]) == {}
