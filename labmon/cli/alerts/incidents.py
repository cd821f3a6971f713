"""`labmon alerts`: current and past alerts, and who has acknowledged them."""

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated

import typer

from labmon.app.alerts.incidents import (
    HISTORY,
    LIST,
    MORE,
    STEPS,
    IncidentRow,
    check_rule,
    facts,
    needs_somebody,
)
from labmon.app.audit import record
from labmon.app.scope import current_user, scope
from labmon.cli import complete
from labmon.cli.alerts import deliveries, dry_run, rules, template
from labmon.cli.listing import View, listing
from labmon.cli.options import (
    Comment,
    Dept,
    FormatOption,
    Lab,
    Quiet,
    System,
    connected,
    flag,
    lasting,
    option,
)
from labmon.cli.output import Format, print_change, print_facts, print_rows
from labmon.cli.times import duration
from labmon.errors import UsageError
from labmon.readable import shown
from labmon.table import Column
from labmon.text import foreign, near

if TYPE_CHECKING:
    from labmon.alerts.incidents import Incident

app = typer.Typer(no_args_is_help=True, help="List, acknowledge, silence and configure alerts.")
app.add_typer(rules.app, name="rules")
app.add_typer(template.app, name="template")
app.command("deliveries")(deliveries.deliveries)
app.command("test")(dry_run.test)

RuleName = Annotated[
    str | None, option("--rule", "RULE", "The alert rule's name.", autocompletion=complete.rules)
]


def _print(view: View, rows: "list[Incident]", columns: list[Column], form: Format, nothing: str) -> None:
    columns = columns if form is Format.table else _every_field()
    view.print(columns, rows, form, nothing, failed=needs_somebody, cell=IncidentRow.of)


def _every_field() -> list[Column]:
    from labmon.alerts.incidents import Incident

    return [Column(field.name, field.name) for field in fields(Incident)]


UNSEEN = "Only alerts that are firing, and neither acknowledged nor silenced."


@app.command("list")
@listing(LIST, more=MORE[1:], failed=UNSEEN)
def list_(
    ctx: typer.Context,
    dept: Dept = None,
    lab: Lab = None,
    system: System = None,
    rule: RuleName = None,
    severity: Annotated[
        str | None, option("--severity", "info|warning|critical", "Only alerts of this severity.")
    ] = None,
    pending: Annotated[bool, flag("--pending", "Include alerts that have not lasted for --for yet.")] = False,
    form: FormatOption = Format.table,
    *,
    view: View,
) -> None:
    """List current alerts, the most severe first."""
    from labmon.alerts import incidents

    if severity not in (None, "info", "warning", "critical"):
        levels = ("info", "warning", "critical")
        raise UsageError(f"--severity {severity}: expected info, warning or critical{near(severity, levels)}")
    with connected(ctx) as connection:
        about = scope(connection, dept, lab, system)
        rows = incidents.standing(connection, about, rule=rule, severity=severity, pending=pending)
        if not rows:
            check_rule(connection, rule)
    _print(view, rows, LIST, form, "no such alerts" if view.narrows else "nothing is wrong")


@app.command()
@listing(HISTORY, more=[*LIST[-4:-2], *MORE], failed=UNSEEN, limit=50, newest=True)
def history(
    ctx: typer.Context,
    dept: Dept = None,
    lab: Lab = None,
    system: System = None,
    rule: RuleName = None,
    form: FormatOption = Format.table,
    *,
    view: View,
) -> None:
    """List past alerts."""
    from labmon.alerts import incidents

    with connected(ctx) as connection:
        rows = incidents.over(
            connection, scope(connection, dept, lab, system), rule=rule, limit=view.to_fetch
        )
        if not rows:
            check_rule(connection, rule)
    _print(view, rows, HISTORY, form, "no such alerts" if view.narrows else "no past alerts")


@app.command()
def show(
    ctx: typer.Context,
    alert: Annotated[int, typer.Argument(metavar="ID", help="The alert's ID.")],
    form: FormatOption = Format.table,
) -> None:
    """Show one alert: its values, its history, and the systems that it covers."""
    from labmon.alerts import incidents

    with connected(ctx) as connection:
        found = incidents.show(connection, alert)
    if found is None:
        raise UsageError(f"there is no alert {alert}. See: labmon alerts history")
    one, steps, names = found
    if form is not Format.table:
        print_rows(_every_field(), [one], form)
        return
    print_facts(((name, text) for name, text in facts(one) if text), 15)
    if steps:
        typer.echo()
        print_rows(STEPS, steps, form)
    if names:
        typer.echo(f"\ncovers: {foreign(', '.join(names))}")


@app.command()
def ack(
    ctx: typer.Context,
    alerts: Annotated[list[int], typer.Argument(metavar="ID", help="The alerts' IDs.")],
    comment: Comment = None,
    form: FormatOption = Format.table,
    quiet: Quiet = False,
) -> None:
    """Acknowledge alerts: no more notifications about them.

    Alerts about a change (memory or a disk is missing, a host key changed) end when acknowledged.
    """
    from labmon.alerts import incidents
    from labmon.messages import utcnow

    with connected(ctx) as connection:
        done = incidents.acknowledge(connection, alerts, current_user(), comment, utcnow())
        missing = [str(one) for one in alerts if one not in done]
        if missing:
            raise UsageError(
                f"not firing: {', '.join(missing)}; nothing was acknowledged. See: labmon alerts list"
            )
        for one in done:
            record(connection, "alerts.ack", f"alert {one}", {"note": comment})
    rows = [{"alert_id": one, "state": "acknowledged", "comment": comment} for one in done]
    print_change(form, f"acknowledged: {', '.join(map(str, done))}", *rows, quiet=quiet)


@app.command()
def unack(
    ctx: typer.Context,
    alerts: Annotated[list[int], typer.Argument(metavar="ID", help="The alerts' IDs.")],
    form: FormatOption = Format.table,
    quiet: Quiet = False,
) -> None:
    """Take acknowledgements back: notifications are repeated again."""
    from labmon.alerts import incidents
    from labmon.messages import utcnow

    with connected(ctx) as connection:
        done = incidents.unacknowledge(connection, alerts, current_user(), utcnow())
        missing = [str(one) for one in alerts if one not in done]
        if missing:
            raise UsageError(
                f"not acknowledged: {', '.join(missing)}; nothing was changed. See: labmon alerts list"
            )
        for one in done:
            record(connection, "alerts.unack", f"alert {one}")
    rows = [{"alert_id": one, "state": "firing"} for one in done]
    print_change(form, f"no longer acknowledged: {', '.join(map(str, done))}", *rows, quiet=quiet)


@app.command()
def silence(
    ctx: typer.Context,
    rule: RuleName = None,
    dept: Dept = None,
    lab: Lab = None,
    system: System = None,
    length: Annotated[str, lasting("--for", "How long: 30m, 2h, 7d.", show_default=True)] = "2h",
    comment: Comment = None,
    form: FormatOption = Format.table,
    quiet: Quiet = False,
) -> None:
    """Suppress notifications for a time: of a rule, of a system, lab or department, or of a rule there.

    Alerts still firing at the end are notified then. `labmon maintenance list` shows silences, `labmon
    maintenance remove` ends one.
    """
    from labmon.messages import utcnow
    from labmon.store.inventory import maintenance

    if rule is None and dept is None and lab is None and system is None:
        raise UsageError("name what to silence: --rule, --lab, --dept or --system")
    now, ends = utcnow(), duration(length, "--for")
    with connected(ctx) as connection:
        about = scope(connection, dept, lab, system)
        check_rule(connection, rule)
        number = maintenance.add(
            connection,
            "silence",
            about,
            rule=rule,
            starts_at=now,
            ends_at=now + ends,
            said_by=current_user(),
            comment=comment,
        )
        detail = {"rule": rule, "until": (now + ends).isoformat(), "maintenance_id": number, "note": comment}
        record(connection, "alerts.silence", str(about), detail)
    row = {"maintenance_id": number, "mode": "silence", "scope": str(about), "rule": rule}
    row |= {"active": True, "until": now + ends, "comment": comment}
    said = f"silence {number} of {rule or 'every alert'}, {about}: until {shown(now + ends)}"
    print_change(form, said, row, quiet=quiet)
