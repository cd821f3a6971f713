"""`labmon alerts`: what is wrong, and who knows of it."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from labmon.cli import alert_rules, alert_test, deliveries
from labmon.cli.maintenance import duration
from labmon.cli.moments import shown
from labmon.cli.output import Column, Format, ago, print_rows, printable, say, span
from labmon.cli.scopes import Comment, Dept, Lab, System, scope, whoever
from labmon.cli.wiring import LARGEST, As, Quiet, load, open_store
from labmon.errors import UsageError

if TYPE_CHECKING:
    from labmon.alerts.incidents import Incident

app = typer.Typer(no_args_is_help=True, help="What is wrong, and who knows of it.")
app.add_typer(alert_rules.app, name="rules")
app.command("deliveries")(deliveries.deliveries)
app.command("test")(alert_test.test)

RuleName = Annotated[
    str | None, typer.Option("--rule", metavar="NAME", help="Only of this rule.", show_default=False)
]


@dataclass(frozen=True)
class _Line:
    """An incident in a table."""

    alert_id: int
    severity: str
    alert_type: str
    subject: str
    value: str
    threshold: str
    since: datetime
    resolved_at: datetime | None
    state: str

    @classmethod
    def of(cls, one: "Incident") -> "_Line":
        value = one.value if one.value_now is None else one.value_now
        about = one.subject + (f" (+{one.covered})" if one.covered else "")
        return cls(
            one.alert_id,
            one.severity,
            one.alert_type,
            about,
            amount(one.kind, one.metric, value),
            amount(one.kind, one.metric, one.threshold),
            one.fired_at or one.since,
            one.resolved_at,
            _state(one),
        )


def _state(one: "Incident") -> str:
    if one.state == "firing" and one.acknowledged_by:
        return f"seen by {one.acknowledged_by}"
    return f"{one.state}, muted" if one.state == "firing" and one.muted else one.state


def amount(kind: str, metric: str | None, value: float) -> str:
    """A value of a rule in its unit."""
    if kind in ("no_data", "collector_down"):
        return span(value)
    if kind == "rate":
        return f"{value:.0f} h" if value < 1000 else "never"
    if kind in ("lab_down", "network_down", "spool_full") or (metric or "").endswith("_percent"):
        return f"{value:.4g} %"
    if (metric or "").endswith("_bytes"):
        return f"{value / 2**30:.1f} GiB"
    return f"{value:.4g} °C" if (metric or "").endswith("_celsius") else f"{value:.6g}"


LIST = [
    Column("alert_id", "ID", right=True),
    Column("severity", "Severity"),
    Column("alert_type", "Alert", gives=True),
    Column("subject", "About", gives=True),
    Column("value", "Value", right=True),
    Column("threshold", "Limit", right=True),
    Column("since", "For", ago, right=True),
    Column("state", "State", gives=True),
]
HISTORY = [
    Column("alert_id", "ID", right=True),
    Column("since", "Fired", shown),
    Column("resolved_at", "Over", shown),
    *(column for column in LIST if column.field in ("severity", "alert_type", "subject")),
]


def _print(rows: "list[Incident]", columns: list[Column], form: Format) -> None:
    from labmon.alerts.incidents import Incident

    if form is Format.table:
        print_rows(columns, [_Line.of(row) for row in rows], form)
    else:
        print_rows([Column(field.name, field.name) for field in fields(Incident)], rows, form)


@app.command("list")
def list_(
    ctx: typer.Context,
    dept: Dept = None,
    lab: Lab = None,
    system: System = None,
    rule: RuleName = None,
    severity: Annotated[
        str | None, typer.Option(help="Only: info, warning or critical.", show_default=False)
    ] = None,
    pending: Annotated[
        bool, typer.Option("--pending", help="With those that have not lasted long enough yet.")
    ] = False,
    form: As = Format.table,
) -> None:
    """List what is wrong now, the worst first."""
    from labmon.alerts import incidents

    if severity not in (None, "info", "warning", "critical"):
        raise UsageError(f"--severity {severity}: there are info, warning and critical")
    with open_store(load(ctx)) as store, store.transaction() as connection:
        whose = scope(connection, dept, lab, system)
        rows = incidents.standing(connection, whose, rule=rule, severity=severity, pending=pending)
    if form is Format.table and not rows:
        say("nothing is wrong")
        return
    _print(rows, LIST, form)


@app.command()
def history(
    ctx: typer.Context,
    dept: Dept = None,
    lab: Lab = None,
    system: System = None,
    rule: RuleName = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=LARGEST, help="The newest so many.")] = 50,
    form: As = Format.table,
) -> None:
    """List what was wrong, and when."""
    from labmon.alerts import incidents

    with open_store(load(ctx)) as store, store.transaction() as connection:
        whose = scope(connection, dept, lab, system)
        rows = incidents.over(connection, whose, rule=rule, limit=limit)
    if form is Format.table and not rows:
        say("nothing has been wrong yet")
        return
    _print(rows, HISTORY, form)


@app.command()
def show(
    ctx: typer.Context,
    alert: Annotated[int, typer.Argument(metavar="ID", help="The alert.")],
    form: As = Format.table,
) -> None:
    """Show one alert: its values, what happened to it, what is under it."""
    from labmon.alerts import incidents

    with open_store(load(ctx)) as store, store.transaction() as connection:
        found = incidents.show(connection, alert)
    if found is None:
        raise UsageError(f"there is no alert {alert}; labmon alerts history has them all")
    one, steps, names = found
    if form is not Format.table:
        _print([one], [], form)
        return
    for name, value in _facts(one):
        if value:
            typer.echo(f"{name:<14} {printable(value)}")
    if steps:
        typer.echo()
        print_rows(
            [
                Column("at", "When", shown),
                Column("event", "What"),
                Column("said_by", "By"),
                Column("comment", "Comment", gives=True),
            ],
            steps,
            form,
        )
    if names:
        typer.echo(f"\nunder it: {printable(', '.join(names))}")


def _facts(one: "Incident") -> list[tuple[str, str | None]]:
    about = f"{one.subject} (system {one.system_id})" if one.system_id else one.subject
    seen = f"by {one.acknowledged_by}" + (f": {one.comment}" if one.comment else "")

    def value(number: float | None) -> str | None:
        return None if number is None else amount(one.kind, one.metric, number)

    return [
        ("alert", f"{one.alert_type}, {one.severity}"),
        ("about", about),
        ("state", one.state + (f" ({one.reason})" if one.reason else "")),
        ("metric", one.metric),
        ("value", value(one.value)),
        ("now", value(one.value_now)),
        ("limit", value(one.threshold)),
        ("since", shown(one.since)),
        ("fired", shown(one.fired_at) if one.fired_at else None),
        ("over", shown(one.resolved_at) if one.resolved_at else None),
        ("acknowledged", seen if one.acknowledged_by else None),
        ("muted", one.muted),
        ("what to do", one.note),
    ]


@app.command()
def ack(
    ctx: typer.Context,
    alerts: Annotated[list[int], typer.Argument(metavar="ID...", help="The alerts.")],
    comment: Comment = None,
    quiet: Quiet = False,
) -> None:
    """Say that you know: it is not repeated any more.

    An alert that nothing else can end (memory taken out, a changed host key) is over with it.
    """
    from labmon.alerts import incidents
    from labmon.messages import utcnow

    with open_store(load(ctx)) as store, store.transaction() as connection:
        done = incidents.acknowledge(connection, alerts, whoever(), comment, utcnow())
        missing = [str(one) for one in alerts if one not in done]
        if missing:
            raise UsageError(
                f"not firing: {', '.join(missing)}; nothing was acknowledged. See: labmon alerts list"
            )
    if not quiet:
        say(f"acknowledged: {', '.join(map(str, done))}")


@app.command()
def silence(
    ctx: typer.Context,
    rule: RuleName = None,
    dept: Dept = None,
    lab: Lab = None,
    system: System = None,
    length: Annotated[str, typer.Option("--for", metavar="DURATION", help="How long: 30m, 2h, 7d.")] = "2h",
    comment: Comment = None,
    quiet: Quiet = False,
) -> None:
    """Tell nobody for a time: of one rule, of a system, lab or department, or of one rule there.

    What still stands at the end is told then. `labmon maintenance list` has the silences, `remove` ends one.
    """
    from labmon.alerts import rules
    from labmon.messages import utcnow
    from labmon.store import maintenance

    if rule is None and dept is None and lab is None and system is None:
        raise UsageError("say what: --rule, --lab, --dept or --system")
    now, ends = utcnow(), duration(length)
    with open_store(load(ctx)) as store, store.transaction() as connection:
        whose = scope(connection, dept, lab, system)
        if rule is not None and rule not in {one.name for one in rules.rules(connection).values()}:
            rules.find(connection, rule)  # says what is near
        number = maintenance.add(
            connection,
            "silence",
            whose,
            rule=rule,
            starts_at=now,
            ends_at=now + ends,
            said_by=whoever(),
            comment=comment,
        )
    if not quiet:
        say(f"silence {number} of {rule or 'every alert'}, {whose}: until {shown(now + ends)}")
