"""A store with machines in it, and the words the tests speak."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from labmon.config.load import load
from labmon.messages import Alert, Metrics, Readings, decode
from labmon.store.metrics.record import record_metrics
from tests.support.receiver import Receiver

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
"""A Monday."""


def minutes(number):
    return timedelta(minutes=number)


@dataclass
class Site:
    """Machines in labs, measured and watched in a time of their own. Moments are minutes since noon."""

    connection: Connection[Any]

    def systems(self, number, *, lab=None, dept=1, network="10.0.0"):
        """Add machines to a lab; returns their numbers."""
        self.connection.execute("INSERT INTO departments VALUES (%s) ON CONFLICT DO NOTHING", [dept])
        if lab:
            self.connection.execute(
                "INSERT INTO labs VALUES (%s, %s, 'lab ' || %s) ON CONFLICT DO NOTHING", [lab, dept, lab]
            )
        return [
            self.connection.execute(
                "INSERT INTO systems (dept_id, lab_id, ip_address, hostname) SELECT %s, %s, "
                "%s::inet + count(*) + 1, 'pc-' || count(*) + 1 FROM systems RETURNING system_id",
                [dept, lab, f"{network}.0"],
            ).fetchone()[0]
            for _ in range(number)
        ]

    def rule(self, name="hot", **columns):
        """A rule in place of all of that name; returns its number."""
        self.connection.execute("DELETE FROM alert_rules WHERE name = %s", [name])
        return self.another_rule(name, **columns)

    def another_rule(self, name="hot", **columns):
        given = {"name": name, "threshold": 90, "repeat_after": "0"} | columns
        if given.get("kind", "threshold") == "threshold":
            given.setdefault("metric", "cpu_percent")
        names, values = ", ".join(given), ", ".join(["%s"] * len(given))
        return self.connection.execute(
            f"INSERT INTO alert_rules ({names}) VALUES ({values}) RETURNING rule_id", list(given.values())
        ).fetchone()[0]

    def only(self, name, **columns):
        """This rule and no other."""
        self.connection.execute("DELETE FROM alert_rules")
        return self.another_rule(name, **columns)

    def measure(self, minute, systems=(1,), **readings):
        """One reading of each, in one batch."""
        rows = [
            Metrics(
                system_id=one,
                collected_at=NOON + minutes(minute),
                metrics=Readings(**(readings or {"cpu_percent": 5.0})),
            )
            for one in systems
        ]
        record_metrics(self.connection, rows)

    def series(self, system, **values):
        """Readings of one metric by minute, in one batch."""
        ((metric, points),) = values.items()
        record_metrics(
            self.connection,
            [
                Metrics(
                    system_id=system, collected_at=NOON + minutes(at), metrics=Readings(**{metric: value})
                )
                for at, value in points
            ],
        )

    def tick(self, minute, **observed):
        self.connection.execute(
            "SELECT labmon_alerts_tick(%s, %s)", [NOON + minutes(minute), Jsonb({"waiting": 0} | observed)]
        )
        assert self.errors() == []

    def watch(self, first, last, systems, **readings):
        """Measure every minute and tick, both ends included."""
        for minute in range(first, last + 1):
            if systems:
                self.measure(minute, systems, **readings)
            self.tick(minute)

    def errors(self):
        return self.connection.execute("SELECT place, said FROM alert_errors").fetchall()

    def incidents(self, **only):
        with self.connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute("SELECT * FROM alert_incidents ORDER BY alert_id")
            rows = cursor.fetchall()
        return [row for row in rows if all(row[name] == value for name, value in only.items())]

    def states(self, **only):
        return [row["state"] for row in self.incidents(**only)]

    def told(self):
        """What has come into the outbox since the last call, as messages."""
        bodies = self.connection.execute(
            "UPDATE alert_outbox SET published_at = now() FROM (SELECT * FROM alert_outbox "
            "WHERE published_at IS NULL ORDER BY outbox_id) AS waiting "
            "WHERE alert_outbox.outbox_id = waiting.outbox_id "
            "RETURNING waiting.body::text, waiting.severity, waiting.outbox_id"
        ).fetchall()
        alerts = []
        for body, severity, _ in sorted(bodies, key=lambda row: row[2]):
            alert = decode(Alert, body.encode())
            assert alert.severity == severity
            alerts.append(alert)
        return alerts

    def news(self):
        """The same, as (state, type, system)."""
        return [(one.state, one.alert_type, one.system_id) for one in self.told()]


@pytest.fixture
def site(connection):
    return Site(connection)


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """Relay and notifier look ten times as often, by themselves and for a stop."""
    for module in ("notify.notifier", "outbox"):
        monkeypatch.setattr(f"labmon.alerts.{module}.POLL", 0.05)


@pytest.fixture
def machines(connection):
    connection.execute("INSERT INTO departments (dept_id, name) VALUES (1, 'Physics'), (2, 'Law')")
    connection.execute("INSERT INTO labs (lab_id, dept_id, name) VALUES (7, 1, 'A-101')")
    connection.execute(
        "INSERT INTO systems (system_id, dept_id, lab_id, ip_address, hostname) "
        "SELECT n, 1 + n % 2, CASE n % 2 WHEN 0 THEN 7 END, '10.0.0.0'::inet + n, 'pc-' || n "
        "FROM generate_series(1, 2000) AS n"
    )
    connection.commit()


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def configured(store_url):
    def make(*targets, **settings):
        flags = {
            "database.url": store_url,
            "notify.targets": list(targets),
            "notify.group_wait": "0s",
            "notify.group_interval": "0s",
        }
        return load(environ={}, flags=flags | {f"notify.{k}": v for k, v in settings.items()}).config

    return make


@pytest.fixture
def quiet(site):
    """No rules at all, but those of the test."""
    site.connection.execute("DELETE FROM alert_rules")
    return site
