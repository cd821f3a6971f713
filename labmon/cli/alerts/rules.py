"""`labmon alerts rules`: what counts as wrong."""

from pathlib import Path
from typing import Annotated, Any

import typer

from labmon.app.alerts import rules
from labmon.app.audit import record
from labmon.app.scope import scope
from labmon.cli import complete
from labmon.cli.confirm import confirm
from labmon.cli.options import Dept, FormatOption, Lab, Quiet, System, Yes, connected, flag, lasting, option
from labmon.cli.output import Format, print_change, print_rows
from labmon.errors import UsageError
from labmon.readable import plural
from labmon.text import NotText, decode, read_text

app = typer.Typer(no_args_is_help=True, help="Configure the rules that raise alerts.")

Metric = Annotated[
    str | None,
    option(
        "--metric", "METRIC", "The metric: cpu_percent, disk_percent, ...", autocompletion=complete.metrics
    ),
]
Above = Annotated[float | None, option("--above", "N", "Fire when the value is above N.")]
Below = Annotated[float | None, option("--below", "N", "Fire when the value is below N.")]
Clear = Annotated[
    float | None, option("--clear", "N", "Clear when the value is back at N. Without it: at the limit.")
]
For = Annotated[str | None, lasting("--for", "How long it must last before the alert fires: 5m.")]
ClearFor = Annotated[
    str | None,
    lasting("--clear-for", "How long it must be back before the alert ends; as --for if absent."),
]
Repeat = Annotated[
    str | None,
    lasting("--repeat", "Notify again after this time, doubled each time; 0: notify once."),
]
Steady = Annotated[
    str | None,
    lasting("--steady", "For no_data: only systems that were on for this long without a break."),
]
Severity = Annotated[str | None, option("--severity", "info|warning|critical", "The alert's severity.")]
Note = Annotated[str | None, option("--note", "TEXT", "What to do about it; part of the notification.")]
Enabled = Annotated[bool | None, flag("--enable/--disable", "Switch the rule on or off.")]
Which = Annotated[
    str,
    typer.Argument(
        metavar="RULE",
        help="The rule's name, or its ID if several have that name.",
        autocompletion=complete.rules,
    ),
]


@app.command("list")
def list_(ctx: typer.Context, form: FormatOption = Format.table) -> None:
    """List the rules. Of several with one name, the most specific applies: system, lab, department, all."""
    from labmon.alerts import rules as stored

    with connected(ctx) as connection:
        found = [rules.RuleRow.of(number, rule) for number, rule in stored.rules(connection).items()]
    print_rows(rules.COLUMNS, found, form)


KEYS = ("name", "metric", "clear", "clear_for", "repeat", "steady", "severity", "kind", "enabled", "note")
"""The options of `add` and `set` that are keys of a rule under the same name."""


def _given(ctx: typer.Context) -> dict[str, Any]:
    """The options that were given, as the keys of a rule. Raises UsageError."""
    above, below = ctx.params["above"], ctx.params["below"]
    if above is not None and below is not None:
        raise UsageError("only one of --above and --below can be given")
    limit = below if above is None else above
    values = {name: ctx.params.get(name) for name in KEYS} | {"for": ctx.params["hold"], "threshold": limit}
    if limit is not None:
        values["comparison"] = ">" if below is None else "<"
    return {name: value for name, value in values.items() if value is not None}


@app.command()
def add(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The rule's name, which is also the name of its alerts.")
    ],
    metric: Metric = None,
    above: Above = None,
    below: Below = None,
    clear: Clear = None,
    hold: For = None,
    clear_for: ClearFor = None,
    repeat: Repeat = None,
    steady: Steady = None,
    severity: Severity = None,
    dept: Dept = None,
    lab: Lab = None,
    system: System = None,
    kind: Annotated[
        str | None,
        option("--kind", "KIND", "threshold, rate, changed, gone, no_data, lab_down, network_down, ..."),
    ] = None,
    enabled: Enabled = None,
    note: Note = None,
    form: FormatOption = Format.table,
    quiet: Quiet = False,
) -> None:
    """Add a rule.

    For a lab or a system, it overrides the general rule of the same name:

    labmon alerts rules add cpu_high --metric cpu_percent --above 99 --lab 3
    """
    from labmon.alerts.rules import convert

    values = _given(ctx)
    if "threshold" not in values and kind not in ("gone",) and enabled is not False:
        raise UsageError("a limit is missing: --above or --below")
    rule = convert(values, f"rule {name}")
    with connected(ctx) as connection:
        number, rule = rules.add(connection, rule, scope(connection, dept, lab, system))
        record(connection, "rules.add", f"rule {number} {name}", {"scope": str(rule.scope)} | values)
    row = {"rule_id": number, "name": name, "condition": rules.condition(rule), "scope": str(rule.scope)}
    print_change(form, f"rule {number}: {name}, {row['condition']}, {rule.scope}", row, quiet=quiet)


@app.command("set")
def set_(
    ctx: typer.Context,
    which: Annotated[
        list[str],
        typer.Argument(metavar="RULE", help="The rules' names or IDs.", autocompletion=complete.rules),
    ],
    above: Above = None,
    below: Below = None,
    clear: Clear = None,
    hold: For = None,
    clear_for: ClearFor = None,
    repeat: Repeat = None,
    steady: Steady = None,
    severity: Severity = None,
    enabled: Enabled = None,
    note: Note = None,
    form: FormatOption = Format.table,
    quiet: Quiet = False,
) -> None:
    """Change rules. Options that are not given stay as they are.

    labmon alerts rules set cpu_high --above 90 --clear 70 --for 30m
    """
    from labmon.alerts import rules as stored

    values = _given(ctx)
    if not values:
        raise UsageError("say what to change: --above, --for, --severity, --disable, ...")
    rows = []
    with connected(ctx) as connection:
        for one in dict.fromkeys(which):
            rules.change(connection, one, values)
            number, rule = stored.find(connection, one)
            record(connection, "rules.set", f"rule {one}", values)
            row = {"rule_id": number, "name": rule.name, "condition": rules.condition(rule)}
            rows.append(row | {"scope": str(rule.scope)})
    print_change(form, f"changed: {', '.join(dict.fromkeys(which))}", *rows, quiet=quiet)


@app.command()
def remove(
    ctx: typer.Context,
    which: Which,
    yes: Yes = False,
    form: FormatOption = Format.table,
    quiet: Quiet = False,
) -> None:
    """Remove a rule. Its alerts end, and stay in the history.

    To keep the rule for later, disable it:

    labmon alerts rules set RULE --disable
    """
    from labmon.alerts import incidents
    from labmon.alerts import rules as stored

    with connected(ctx) as connection:
        number, rule = stored.find(connection, which)
        firing = len(incidents.standing(connection, rule=rule.name))
        ends = (
            f" Up to {plural(firing, 'alert')} that {'is' if firing == 1 else 'are'} firing now will end."
            if firing
            else ""
        )
        confirm(f"Remove rule {number}, {rule.name}, {rule.scope}?{ends}", yes=yes)
        stored.remove(connection, number)
        record(connection, "rules.remove", f"rule {number} {rule.name}", {"scope": str(rule.scope)})
    row = {"rule_id": number, "name": rule.name, "scope": str(rule.scope)}
    print_change(form, f"removed: {rule.name}, {rule.scope}", row, quiet=quiet)


@app.command("export")
def export(ctx: typer.Context) -> None:
    """Print all rules as TOML, for `import`."""
    from labmon.alerts import rules as stored

    with connected(ctx) as connection:
        found = stored.rules(connection)
    typer.echo(stored.to_toml(list(found.values())), nl=False)


@app.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="PATH", help="Rules as TOML; - for standard input.")],
    replace: Annotated[bool, flag("--replace", "Remove the rules that are not in the file.")] = False,
    yes: Yes = False,
    form: FormatOption = Format.table,
    quiet: Quiet = False,
) -> None:
    """Read rules from a file, all or none. A rule of the same name and scope is overwritten."""
    from labmon.alerts import rules as stored

    given = stored.from_toml(_read(file), str(file))
    with connected(ctx) as connection:
        kept = {stored.put(connection, rule) for rule in given}
        gone = rules.others(connection, kept) if replace else {}
        if gone:
            names = ", ".join(gone.values())
            confirm(f"Remove {plural(len(gone), 'rule')} not in {file}: {names}?", yes=yes)
        for one in gone:
            stored.remove(connection, one)
        record(connection, "rules.import", str(file), {"rules": len(kept), "removed": len(gone)})
    removed = f", {len(gone)} removed" if gone else ""
    said = f"{plural(len(kept), 'rule')} read from {file}{removed}"
    rows = [{"rule_id": one, "did": "read"} for one in sorted(kept)]
    rows += [{"rule_id": one, "did": "removed"} for one in sorted(gone)]
    print_change(form, said, *rows, quiet=quiet, names=["rule_id", "did"])


def _read(file: Path) -> str:
    import sys

    try:
        return decode(sys.stdin.buffer.read()) if str(file) == "-" else read_text(file)
    except NotText as error:
        raise UsageError(f"{file}: not text: {error}") from error
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
