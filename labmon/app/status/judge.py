"""What of a report is wrong, and how badly. These rules are in the help and in examples/status."""

from collections.abc import Iterator

from labmon.app.status.report import Level, Report, Trouble
from labmon.readable import ago, span

MISSED = {Level.warning: (3, 120.0), Level.critical: (10, 900.0)}
"""Usual intervals without any reading, and the shortest time in seconds."""

SPOOL_FULL = 0.9
"""Of its maximum size: the next long outage drops messages."""

NAMED = 3
"""Alerts that the first line names."""


def troubles(report: Report) -> list[Trouble]:
    """Everything that is wrong, the worst first."""
    found = [
        *_database(report),
        *_readings(report),
        *_alerts(report),
        *_queues(report),
        *_workers(report),
        *_spool(report),
        *_notifications(report),
    ]
    return sorted(found, key=lambda one: -Level[one.level])


def _database(report: Report) -> Iterator[Trouble]:
    if report.database_error:
        yield Trouble("database", "critical", report.database_error)


def _readings(report: Report) -> Iterator[Trouble]:
    age = report.newest_reading_age
    if age is None or not report.reading_due:
        return
    for level in (Level.critical, Level.warning):
        intervals, least = MISSED[level]
        if age > max(least, intervals * (report.usual_gap_seconds or 0.0)):
            yield Trouble(
                "readings", level.name, f"newest reading {span(age)} old", "Is labmon collect running?"
            )
            return


def _alerts(report: Report) -> Iterator[Trouble]:
    for level in (Level.critical, Level.warning):
        names = [
            f"{one.alert_type} on {one.subject}"
            for one in report.alerts
            if one.severity == level.name and not (one.acknowledged_by or one.muted or one.silenced_until)
        ]
        if names:
            more = f", {len(names) - NAMED} more" if len(names) > NAMED else ""
            text = f"{len(names)} {level.name} alert{'s' * (len(names) > 1)}"
            yield Trouble("alerts", level.name, text, f"{', '.join(names[:NAMED])}{more}")


def _queues(report: Report) -> Iterator[Trouble]:
    if report.queue_error:
        if report.queue_enabled:
            yield Trouble("queues", "critical", report.queue_error)
        return
    for one in report.queues:
        if one.level == "critical":
            text = f"{one.ready:,} messages wait in {one.queue}"
            yield Trouble("queues", "critical", text, "Add workers: labmon consume --workers N")
        elif one.dead:
            plural = "s" * (one.dead > 1)
            text = f"{one.dead:,} dead letter{plural} in {one.queue}"
            yield Trouble("queues", "warning", text, f"See: labmon dead-letters list {one.queue}")
        elif one.level == "warning":
            yield Trouble("queues", "warning", f"{one.ready:,} messages wait in {one.queue}")


def _workers(report: Report) -> Iterator[Trouble]:
    workers = report.workers
    if workers is None:
        return
    waiting = sum(one.ready for one in report.queues)
    if not workers.alive and (report.queue_enabled or waiting):
        level = "critical" if report.queue_enabled else "warning"
        text = "no worker is running" + (f", and {waiting:,} messages wait" if waiting else "")
        yield Trouble("workers", level, text, "Start one: labmon consume")
    elif workers.alive and workers.dead:
        plural = "s" * (workers.dead > 1)
        text = f"{workers.dead} worker{plural} died"
        yield Trouble("workers", "warning", text, "See: labmon consume --status")


def _spool(report: Report) -> Iterator[Trouble]:
    if report.spool_error:
        yield Trouble("spool", "warning", report.spool_error)
    spool = report.spool
    if spool is None or not spool.messages:
        return
    since = f" since {ago(spool.oldest_at)}" if spool.oldest_at else ""
    text, level = f"{spool.messages:,} messages wait on disk{since}", "warning"
    if spool.max_bytes and spool.bytes >= SPOOL_FULL * spool.max_bytes:
        share = 100 * spool.bytes / spool.max_bytes
        text, level = f"{text}, {share:.0f} % of [spool] max_bytes: the oldest are dropped next", "critical"
    yield Trouble("spool", level, text, "Send them: labmon spool flush")


def _notifications(report: Report) -> Iterator[Trouble]:
    for target, since in report.unreached.items():
        text = f"{target} has not been reached for {ago(since)}"
        yield Trouble("notifications", "warning", text, "See: labmon alerts deliveries --state waiting")


def first_line(report: Report) -> str:
    """The line that a monitoring plugin prints: the level, what is wrong if anything, and the figures."""
    wrong = "; ".join(one.text.partition(". ")[0] for one in report.troubles)
    figures = "" if report.database_error else figures_of(report)
    return f"labmon {report.level.name.upper()} - {'; '.join(filter(None, (wrong, figures)))}"


def figures_of(report: Report) -> str:
    """How many systems there are, and how they are, in one line."""
    firing, age = len(report.alerts), report.newest_reading_age
    parts = [
        f"{report.systems:,} system{'s' * (report.systems != 1)}",
        f"{len(report.failing):,} failing",
        f"{firing:,} alert{'s' * (firing != 1)}",
    ]
    if all(one.part != "readings" for one in report.troubles):
        parts.append("nothing measured yet" if age is None else f"newest reading {span(age)} old")
    return ", ".join(parts)


def performance_data(report: Report) -> str:
    """The figures as monitoring plugins append them, for graphs."""
    age = report.newest_reading_age
    known = {
        "waiting": sum(one.ready for one in report.queues),
        "dead": sum(one.dead for one in report.queues),
    }
    if not report.database_error:
        inventory = {"systems": report.systems, "failing": len(report.failing), "alerts": len(report.alerts)}
        known = inventory | known
    figures = [f"{name}={value}" for name, value in known.items()]
    return " ".join(figures if age is None else [*figures, f"age={age:.0f}s"])
