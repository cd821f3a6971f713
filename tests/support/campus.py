"""A university in a database: labs, systems with their readings of a day, alerts, scans, and what happened.

The same for the same arguments, but for the time: everything counts back from now. Noise is the sine of a
number, which needs no generator and no seed.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import Connection

from labmon.store.metrics.rollup import roll_up

BUILDINGS = ("ENG", "SCI", "LIB", "MED")
STEP = timedelta(minutes=1)
"""Between two readings."""

GAP = (timedelta(hours=8), timedelta(hours=7))
"""How long ago nobody measured: a gap in every chart."""

HOSTILE = "<img src=x onerror=alert(1)>"
"""The name of one system: text, on every page."""

_SYSTEMS = """
WITH numbers AS (
    SELECT n, n * %(labs)s / %(systems)s + 1 AS lab_id FROM generate_series(0, %(systems)s - 1) n
),
wanted AS (
    SELECT n, lab_id, row_number() OVER (PARTITION BY lab_id ORDER BY n) AS seat,
           CASE WHEN n %% 97 = 5 THEN 'unreachable'
                WHEN n %% 211 = 7 THEN 'auth failed'
                WHEN n %% 251 = 9 THEN 'maintenance'
                WHEN n %% 401 = 11 THEN 'discovered'
                ELSE 'active' END AS status
    FROM numbers
)
INSERT INTO systems (
    system_id, dept_id, lab_id, ip_address, hostname, mac_address, status, status_since, status_at,
    status_error, ssh_port, first_seen, last_seen, last_collected, seat_column, seat_row
)
SELECT n + 1, labs.dept_id, lab_id,
       '10.20.0.0'::inet + (n / 200) * 256 + n %% 200 + 10,
       CASE n WHEN 3 THEN %(hostile)s ELSE lower(labs.name) || '-pc' || to_char(seat, 'FM00') END,
       ('52540000' || lpad(to_hex(n), 4, '0'))::macaddr,
       status,
       %(now)s - make_interval(mins => 30 + n * 37 %% 9000),
       %(now)s - interval '1 minute',
       CASE status WHEN 'unreachable' THEN 'no answer within 10 s'
                   WHEN 'auth failed' THEN 'Permission denied (publickey)' END,
       22,
       %(now)s - interval '200 days',
       %(now)s - make_interval(secs => n %% 50),
       CASE status WHEN 'active' THEN %(now)s - make_interval(secs => n %% 50)
                   WHEN 'discovered' THEN NULL
                   ELSE %(now)s - make_interval(mins => 200 + n %% 90) END,
       (seat - 1) %% 10 + 1, (seat - 1) / 10 + 1
FROM wanted JOIN labs USING (lab_id)
"""

# A day has its hours: people work from nine to five, disks fill slowly, some machines are at their limits.
_READINGS = """
WITH moments AS (
    SELECT system_id, at, extract(epoch FROM at - %(now)s) AS ago, system_id %% 45 = 2 AS is_full,
           GREATEST(0, sin((extract(epoch FROM at)::bigint %% 86400 - 25200) / 86400.0 * 2 * pi())) AS day,
           sin(system_id * 12.9898 + extract(epoch FROM at) * 0.0078233) AS wave,
           abs((sin(system_id * 78.233 + extract(epoch FROM at) * 3.9812) * 43758.5453)::numeric %% 1)::float
               AS noise
    FROM systems, generate_series(last_collected - %(span)s::interval, last_collected, %(step)s) AS at
    WHERE last_collected IS NOT NULL AND system_id BETWEEN %(first)s AND %(last)s
      AND NOT (at BETWEEN %(gap_from)s AND %(gap_to)s)
)
INSERT INTO metrics (
    system_id, collected_at, cpu_percent, ram_percent, disk_percent, network_sent_mbps, network_recv_mbps,
    uptime_seconds, logged_in_users, cpu_iowait_percent, cpu_temperature_celsius, load1, ram_total_bytes,
    swap_percent, disk_read_mbps, disk_write_mbps, context_switch_rate, process_count, disk_total_bytes
)
SELECT system_id, at,
       CASE WHEN is_full AND system_id %% 90 <> 2 THEN 96 + 3 * noise
            ELSE LEAST(100, 4 + 38 * day + 8 * abs(wave) + 14 * noise * noise) END,
       CASE WHEN is_full THEN 95 + 3 * noise ELSE 30 + 28 * day + 4 * wave + 2 * noise END,
       CASE WHEN is_full AND system_id %% 90 = 2 THEN 98 ELSE 40 + system_id * 7 %% 50 + ago / 864000 END,
       0.2 + 6 * day * noise,
       0.5 + 30 * day * noise,
       GREATEST(0, ago + 86400 * (1 + system_id %% 20))::bigint,
       CASE WHEN day > 0.1 AND (system_id + extract(hour FROM at)::int) %% 3 > 0
            THEN 1 + (noise > 0.9)::int ELSE 0 END,
       2 * noise * noise,
       38 + 24 * day + 3 * noise,
       0.2 + 2.4 * day * (0.5 + noise),
       17179869184,
       1 + day,
       8 * day * noise,
       4 * day * noise,
       800 + 4000 * day * (0.6 + 0.4 * noise),
       200 + (80 * day)::int,
       512110190592
FROM moments
"""

_ALERTS = """
INSERT INTO alert_incidents (
    rule_id, alert_type, kind, system_id, dept_id, lab_id, severity, value, threshold, since, last_at,
    fired_at, acknowledged_at, acknowledged_by, comment, told
)
SELECT rule_id, rule.name, rule.kind, systems.system_id, systems.dept_id, systems.lab_id, rule.severity, 97.5,
       threshold, since, since, since + interval '2 minutes', acknowledged,
       CASE WHEN acknowledged IS NOT NULL THEN 'ada' END,
       CASE WHEN acknowledged IS NOT NULL THEN 'fan is ordered' END, 'firing'
FROM systems
JOIN alert_rules rule ON rule.system_id IS NULL
    AND rule.name = CASE WHEN systems.system_id %% 90 = 2 THEN 'disk_full' ELSE 'cpu_high' END,
LATERAL (SELECT %(now)s - make_interval(mins => 20 + systems.system_id %% 300) AS since) times,
LATERAL (
    SELECT CASE WHEN systems.system_id %% 225 = 47 THEN since + interval '9 minutes' END AS acknowledged
) acknowledgements
WHERE systems.system_id %% 45 = 2 AND status = 'active'
"""

_PAST_ALERTS = """
INSERT INTO alert_incidents (
    rule_id, alert_type, kind, system_id, dept_id, lab_id, severity, value, clear_value, threshold, since,
    last_at, fired_at, resolved_at, told
)
SELECT rule_id, rule.name, rule.kind, systems.system_id, systems.dept_id, systems.lab_id, rule.severity,
       96, 70, threshold, since, since + interval '40 minutes', since + interval '15 minutes',
       since + interval '40 minutes', 'resolved'
FROM systems
JOIN alert_rules rule ON rule.name = 'ram_high' AND rule.system_id IS NULL,
LATERAL (SELECT %(now)s - make_interval(hours => 3 + systems.system_id %% 60) AS since) times
WHERE systems.system_id %% 31 = 4
"""

_HISTORY = """
INSERT INTO system_history (system_id, at, change, old_value, new_value, error)
SELECT system_id, first_seen, 'found', NULL, host(ip_address), NULL FROM systems
UNION ALL
SELECT system_id, %(now)s - interval '5 hours', 'status', 'active', 'unreachable', 'no answer within 10 s'
FROM systems WHERE system_id %% 17 = 1
UNION ALL
SELECT system_id, %(now)s - interval '4 hours', 'status', 'unreachable', 'active', NULL
FROM systems WHERE system_id %% 17 = 1
UNION ALL
SELECT system_id, %(now)s - interval '3 days', 'renamed', 'old-name', hostname, NULL
FROM systems WHERE system_id %% 40 = 1
"""

_SCANS = """
INSERT INTO scans (
    scan_id, dept_id, scan_type, target_range, started_at, finished_at, systems_found, status, systems_new
)
SELECT n + 1, n %% 3 + 1, 'arp', '10.20.' || n %% 4 || '.0/24', %(now)s - make_interval(hours => 6 * n),
       %(now)s - make_interval(hours => 6 * n) + interval '41 seconds', 480 - n, 'completed',
       (n %% 3 = 0)::int
FROM generate_series(0, 39) n
"""


@dataclass(frozen=True)
class Campus:
    """What `build` made."""

    systems: int
    labs: int
    now: datetime


def build(
    connection: Connection[Any], *, systems: int = 2000, labs: int = 40, detailed: int = 20, hours: int = 26
) -> Campus:
    """Fill an empty database that has labmon's schema, and commit.

    The first `detailed` systems have a reading each minute of the last `hours` hours but for the gap; the
    others of the last three minutes. Every 45th system is at its limits and has a firing alert.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    known: dict[str, Any] = {"systems": systems, "labs": labs, "now": now, "hostile": HOSTILE, "step": STEP}
    known |= {"gap_from": now - GAP[0], "gap_to": now - GAP[1]}
    _rooms(connection, labs)
    connection.execute(_SYSTEMS, known)
    days = {(now - timedelta(hours=back)).date() for back in range(-24, hours + 24, 12)}
    connection.execute("SELECT labmon_metrics_day(day) FROM unnest(%s::date[]) AS day", [sorted(days)])
    detail = {"first": 1, "last": detailed, "span": timedelta(hours=hours)}
    rest = {"first": detailed + 1, "last": systems, "span": timedelta(minutes=3)}
    # The rules would look at each reading, which takes half a minute; what they would find follows.
    connection.execute("ALTER TABLE metrics DISABLE TRIGGER labmon_alerts")
    for part in (detail, rest):
        connection.execute(_READINGS, known | part)
    connection.execute("ALTER TABLE metrics ENABLE TRIGGER labmon_alerts")
    while roll_up(connection, now):
        pass
    for statement in (_ALERTS, _PAST_ALERTS, _HISTORY, _SCANS):
        connection.execute(statement, known)
    for table, column in (("systems", "system_id"), ("labs", "lab_id")):
        connection.execute(
            f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), max({column})) FROM {table}"
        )
    connection.commit()
    connection.execute("ANALYZE")
    connection.commit()
    return Campus(systems, labs, now)


def _rooms(connection: Connection[Any], labs: int) -> None:
    connection.execute(
        "INSERT INTO departments (dept_id, name) VALUES (1, 'Engineering'), (2, 'Science'), (3, 'Medicine')"
    )
    for n in range(labs):
        name = f"{BUILDINGS[n * len(BUILDINGS) // labs]}-{n % 10 // 5 + 1}0{n % 5 + 1}"
        connection.execute(
            "INSERT INTO labs (lab_id, dept_id, name) VALUES (%s, %s, %s)", [n + 1, n % 3 + 1, name]
        )
