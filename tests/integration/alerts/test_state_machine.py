"""A model in Python, as plain as it can be, and the SQL: on random series they must agree about everything."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labmon.messages import Alert, decode
from tests.integration.alerts.conftest import NOON, minutes

SYSTEMS = (1, 2)
OPERATORS = {
    ">": lambda value, limit: value > limit,
    ">=": lambda value, limit: value >= limit,
    "<": lambda value, limit: value < limit,
    "<=": lambda value, limit: value <= limit,
}


@dataclass(frozen=True)
class Rule:
    metric: str
    comparison: str
    threshold: int
    clear_threshold: int
    hold: int  # minutes, as the others
    clear_hold: int
    max_gap: int
    enabled: bool = True


@dataclass
class Episode:
    since: datetime
    last_at: datetime
    fired_at: datetime | None = None
    clearing_since: datetime | None = None
    resolved_at: datetime | str | None = None
    told: str | None = None

    @property
    def state(self):
        return "resolved" if self.resolved_at else "firing" if self.fired_at else "pending"


@dataclass
class Model:
    """One rule, two systems."""

    rule: Rule
    stored: dict[tuple[int, datetime], dict] = field(default_factory=dict)
    episodes: dict[int, list[Episode]] = field(default_factory=lambda: {system: [] for system in SYSTEMS})
    told: list[tuple[int, str]] = field(default_factory=list)

    def insert(self, batch):
        newest = {s: max((at for system, at in self.stored if system == s), default=None) for s in SYSTEMS}
        new = {}
        for system, at, readings in batch:
            if (system, at) not in self.stored:
                self.stored[system, at] = new[system, at] = readings
        for (system, at), readings in sorted(new.items(), key=lambda one: one[0]):
            value = readings.get(self.rule.metric)
            late = newest[system] is not None and at < newest[system]
            if self.rule.enabled and not late and value is not None:
                self.judge(self.episodes[system], at, value)
        self.tell()

    def judge(self, episodes, at, value):
        rule = self.rule
        breach = OPERATORS[rule.comparison](value, rule.threshold)
        clear = not OPERATORS[rule.comparison](value, rule.clear_threshold)
        last = episodes[-1] if episodes and not episodes[-1].resolved_at else None
        if last is None:
            if breach:
                episodes.append(Episode(at, at, fired_at=at if rule.hold == 0 else None))
            return
        gap = at - last.last_at > minutes(rule.max_gap)
        if last.fired_at is None and not breach:
            episodes.pop()
            return
        if last.fired_at is None:
            last.since = at if gap else last.since
            last.fired_at = at if at - last.since >= minutes(rule.hold) else None
        elif not clear:
            last.clearing_since = None
        else:
            last.clearing_since = at if gap or last.clearing_since is None else last.clearing_since
            last.resolved_at = at if at - last.clearing_since >= minutes(rule.clear_hold) else None
        last.last_at = at

    def change(self, rule):
        self.rule = rule
        if not rule.enabled:
            for system, episodes in self.episodes.items():
                self.episodes[system] = [one for one in episodes if one.fired_at]
                for one in self.episodes[system]:
                    one.resolved_at = one.resolved_at or "pruned"

    def tell(self):
        """After each batch: what fired and is still on, and the end of what had been told."""
        for system, episodes in self.episodes.items():
            for one in episodes:
                if (
                    one.state == "firing"
                    and one.told is None
                    or one.state == "resolved"
                    and one.told == "firing"
                ):
                    one.told = one.state
                    self.told.append((system, one.state))


values = st.integers(0, 6)
readings = st.fixed_dictionaries({}, optional={"cpu_percent": values, "process_count": values})
reading = st.tuples(st.sampled_from(SYSTEMS), st.integers(0, 30).map(lambda n: NOON + minutes(n)), readings)
rules = st.builds(
    lambda upward, strict, threshold, slack, **others: Rule(
        comparison=(">" if upward else "<") + ("" if strict else "="),
        threshold=threshold,
        clear_threshold=threshold - slack if upward else threshold + slack,
        **others,
    ),
    upward=st.booleans(),
    strict=st.booleans(),
    threshold=values,
    slack=st.integers(0, 3),
    metric=st.sampled_from(["cpu_percent", "process_count"]),
    hold=st.sampled_from([0, 1, 3, 8]),
    clear_hold=st.sampled_from([0, 1, 4]),
    max_gap=st.sampled_from([2, 6, 100]),
)
changes = st.fixed_dictionaries(
    {}, optional={"hold": st.sampled_from([0, 2]), "max_gap": st.just(3), "enabled": st.booleans()}
)
batches = st.lists(reading, min_size=1, max_size=25)
stories = st.lists(st.one_of(batches, batches, batches, changes), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def database(postgres_server, schema_template):
    with (
        postgres_server.database(schema_template) as name,
        psycopg.connect(postgres_server.url(name)) as session,
    ):
        session.execute("DELETE FROM alert_rules")
        session.execute("INSERT INTO departments VALUES (1)")
        session.execute("INSERT INTO systems (dept_id, ip_address) VALUES (1, '10.0.0.1'), (1, '10.0.0.2')")
        session.execute("SELECT labmon_metrics_day('2026-03-02')")
        session.commit()
        yield session


def put_rule(session, rule):
    session.execute("DELETE FROM alert_rules")
    session.execute(
        "INSERT INTO alert_rules (name, metric, comparison, threshold, clear_threshold, hold, clear_hold, max_gap, "
        "enabled, repeat_after) VALUES ('rule', %s, %s, %s, %s, %s, %s, %s, %s, '0')",
        [
            *(rule.metric, rule.comparison, rule.threshold, rule.clear_threshold, minutes(rule.hold)),
            *(minutes(rule.clear_hold), minutes(rule.max_gap), rule.enabled),
        ],
    )


def insert(session, batch):
    columns = "system_id, collected_at, cpu_percent, process_count"
    session.execute(
        f"INSERT INTO metrics ({columns}) SELECT * FROM unnest(%s::int[], %s::timestamptz[], %s::real[], %s::bigint[]) "
        "ON CONFLICT DO NOTHING",
        [
            [system for system, _, _ in batch],
            [at for _, at, _ in batch],
            [values.get("cpu_percent") for _, _, values in batch],
            [values.get("process_count") for _, _, values in batch],
        ],
    )


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(rules, stories)
def test_the_sql_agrees_with_the_model(database, rule, story):
    with database.transaction(force_rollback=True):
        model = Model(rule)
        put_rule(database, rule)
        for step in story:
            if isinstance(step, dict):
                model.change(replace(model.rule, **step))
                database.execute(
                    "UPDATE alert_rules SET hold = %s, max_gap = %s, enabled = %s",
                    [minutes(model.rule.hold), minutes(model.rule.max_gap), model.rule.enabled],
                )
            else:
                model.insert(step)
                insert(database, step)
        agree(database, model)


def agree(session, model):
    assert session.execute("SELECT place, said FROM alert_errors").fetchall() == []
    incidents = session.execute(
        "SELECT system_id, since, fired_at, clearing_since, CASE WHEN reason IS NULL THEN resolved_at END, "
        "reason IS NOT NULL, state FROM alert_incidents ORDER BY system_id, since"
    ).fetchall()
    assert incidents == [
        (
            *(system, one.since, one.fired_at, one.clearing_since),
            *(
                None if one.resolved_at == "pruned" else one.resolved_at,
                one.resolved_at == "pruned",
                one.state,
            ),
        )
        for system, episodes in sorted(model.episodes.items())
        for one in episodes
    ]
    # What a changed rule ended is told by the tick; here by hand.
    model.tell()
    session.execute("SELECT labmon_alerts_tell(%s)", [NOON + timedelta(days=1)])
    bodies = session.execute("SELECT body::text FROM alert_outbox").fetchall()
    alerts = [decode(Alert, body.encode()) for (body,) in bodies]
    assert sorted((one.system_id, one.state) for one in alerts) == sorted(model.told)
    fired = session.execute("SELECT count(*) FROM alert_log WHERE event = 'fired'").fetchone()[0]
    assert fired == sum(one.fired_at is not None for e in model.episodes.values() for one in e)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(rules, st.lists(reading, min_size=1, max_size=30, unique_by=lambda one: one[:2]), st.data())
def test_how_readings_in_order_are_cut_into_batches_makes_no_difference(database, rule, series, data):
    """Also when each batch is delivered again, and after the next one."""
    series = sorted(series, key=lambda one: one[1])
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(series) - 1)))))
    parts = [series[a:b] for a, b in zip([0, *cuts], [*cuts, len(series)], strict=True)]
    found = []
    for way in (
        [series],
        [part for n, part in enumerate(parts) for part in (part, parts[max(0, n - 1)]) if part],
    ):
        with database.transaction(force_rollback=True):
            put_rule(database, rule)
            for batch in way:
                insert(database, data.draw(st.permutations(batch)))
            found.append(
                database.execute(
                    "SELECT system_id, since, fired_at, clearing_since, resolved_at FROM alert_incidents "
                    "ORDER BY system_id, since"
                ).fetchall()
            )
    assert found[0] == found[1]
