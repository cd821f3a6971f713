"""What the tick costs as the campus grows, and that what makes it cheap changes no result."""

import random
from pathlib import Path

import pytest

from tests.bench import growth

PAIRS = Path("tests/data/alerts-muted-by-pairs.sql")


# findings F1, F2, F3, F5
@pytest.mark.parametrize("case", ["ticks", "sightings", "routing"])
def test_the_costs_grow_no_faster_than_the_number_of_systems(postgres_server, case):
    for name, costs in growth.growth(postgres_server, case, (500, 1000, 2000, 4000)).items():
        assert growth.exponent(costs) < growth.LIMIT, (name, costs)


# findings F2
@pytest.mark.parametrize("seed", range(40))
def test_groups_within_groups_are_muted_as_when_each_was_compared_with_each(connection, seed):
    dice = random.Random(seed)
    connection.execute(PAIRS.read_text())
    connection.execute(
        "INSERT INTO departments VALUES (1);"
        "INSERT INTO systems (dept_id, ip_address) "
        "SELECT 1, '10.0.0.0'::inet + n FROM generate_series(1, 12) AS n"
    )
    number = dice.randint(2, 14)
    for _ in range(number):
        kind = dice.choice(["lab_down", "network_down", "network_down", "no_data", "collector_down"])
        state = dice.choice(["firing", "firing", "pending", "resolved"])
        (incident,) = connection.execute(
            "INSERT INTO alert_incidents (alert_type, kind, system_id, subject, severity, value, threshold, "
            "since, last_at, fired_at, resolved_at) VALUES (%(kind)s, %(kind)s, %(system)s, %(subject)s, "
            "'warning', 1, 1, now(), now(), CASE WHEN %(state)s <> 'pending' THEN now() END, "
            "CASE WHEN %(state)s = 'resolved' THEN now() END) RETURNING alert_id",
            {
                "kind": kind,
                "state": state,
                "system": dice.randint(1, 12) if kind == "no_data" else 0,
                "subject": "x" * dice.randint(1, 3),
            },
        ).fetchone()
        if kind in ("lab_down", "network_down"):
            # Few of few, so that many are equal, empty, or one within the other.
            connection.execute(
                "INSERT INTO alert_covers SELECT %s, system_id, now() FROM systems WHERE system_id = ANY(%s)",
                [incident, dice.sample(range(1, 6), dice.randint(0, 5))],
            )
    asked = dice.sample(range(1, number + 1), dice.randint(1, number))

    def muted(function):
        return connection.execute(
            f"SELECT alert_id, why FROM {function}(now(), (SELECT array_agg(alert_id) FROM ("
            "SELECT alert_id, row_number() OVER (ORDER BY alert_id) AS n FROM alert_incidents) AS numbered "
            "WHERE n = ANY(%s))) ORDER BY 1",
            [asked],
        ).fetchall()

    now, before = muted("labmon_alerts_muted"), muted("pg_temp.muted_by_pairs")
    # Where several cover it, any was named: now it is the one that covers most.
    assert [(alert, why.split()[:2]) for alert, why in now if "_down" not in why] == [
        (alert, why.split()[:2]) for alert, why in before if "_down" not in why
    ]
    assert [alert for alert, _ in now] == [alert for alert, _ in before]
