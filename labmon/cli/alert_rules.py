"""`labmon alerts rules`: what counts as wrong."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labmon.cli.output import Column, Format, print_rows, say
from labmon.cli.scopes import Dept, Lab, System, scope
from labmon.cli.wiring import As, Quiet, load, open_store
from labmon.errors import UsageError

if TYPE_CHECKING:
    from labmon.alerts.rules import Rule

app = typer.Typer(no_args_is_help=True, help="What counts as wrong.")


def _option(name: str, help_: str, **more: Any) -> Any:
    return typer.Option(name, help=help_, show_default=False, **more)


Metric = Annotated[str | None, _option("--metric", "The metric: cpu_percent, disk_percent, ...")]
Above = Annotated[float | None, _option("--above", "Wrong above this.")]
Below = Annotated[float | None, _option("--below", "Wrong below this.")]
Clear = Annotated[
    float | None, _option("--clear", "Over only when it is back at this; the limit itself if not said.")
]
For = Annotated[str | None, _option("--for", "How long it has to last: 5m.", metavar="DURATION")]
ClearFor = Annotated[
    str | None,
    _option("--clear-for", "How long it has to be back; as --for if not said.", metavar="DURATION"),
]
Repeat = Annotated[
    str | None,
    _option("--repeat", "Told again after this, then twice as long...; 0: once.", metavar="DURATION"),
]
Steady = Annotated[
    str | None,
    _option(
        "--steady",
        "Of no_data: only machines that were on for so long without a break.",
        metavar="DURATION",
    ),
]
Severity = Annotated[str | None, _option("--severity", "info, warning or critical.")]
Note = Annotated[str | None, _option("--note", "What to do about it, told with it.")]
Enabled = Annotated[
    bool | None, typer.Option("--enable/--disable", help="Whether it counts.", show_default=False)
]
Which = Annotated[
    str, typer.Argument(metavar="RULE", help="Its name, or its number where several have that name.")
]


@dataclass(frozen=True)
class _Row:
    """A rule as it is listed."""

    rule_id: int
    name: str
    kind: str
    condition: str
    clear: float | None
    hold_seconds: float
    clear_for_seconds: float
    repeat_seconds: float
    severity: str
    scope: str
    enabled: bool
    note: str | None

    @classmethod
    def of(cls, number: int, rule: "Rule") -> "_Row":
        return cls(
            number,
            rule.name,
            rule.kind,
            condition(rule),
            rule.clear,
            rule.hold,
            rule.hold if rule.clear_for is None else rule.clear_for,
            rule.repeat,
            rule.severity,
            str(rule.scope),
            rule.enabled,
            rule.note,
        )


def condition(rule: "Rule") -> str:
    """What has to be, in words."""
    limit = f"{rule.comparison} {rule.threshold:g}"
    match rule.kind:
        case "threshold":
            return f"{rule.metric} {limit}"
        case "rate":
            return f"{rule.metric} at 100 in {limit} h"
        case "changed":
            return f"{rule.metric} changed by {limit} %"
        case "gone":
            return f"{rule.metric} gone"
        case "no_data":
            return f"silent {limit} s" + (f", steady {rule.steady}" if rule.steady else "")
        case "lab_down" | "network_down":
            return f"silent {limit} %, {rule.least} at least"
        case "queue_backlog":
            return f"waiting {limit}"
        case "collector_down":
            return f"nobody measured {limit} s"
        case _:
            return f"spool {limit} %"


def _length(seconds: float) -> str:
    from labmon.units import Seconds

    return str(Seconds(seconds))


COLUMNS = [
    Column("rule_id", "ID", right=True),
    Column("name", "Name"),
    Column("condition", "Wrong when", gives=True),
    Column("clear", "Clear", "{:g}".format, right=True),
    Column("hold_seconds", "For", _length, right=True),
    Column("severity", "Severity"),
    Column("scope", "Whose"),
    Column("enabled", "On", lambda on: "yes" if on else "no"),
]


@app.command("list")
def list_(ctx: typer.Context, form: As = Format.table) -> None:
    """List the rules. Of those of one name, the narrowest counts: system, lab, department, all."""
    from labmon.alerts import rules

    with open_store(load(ctx)) as store, store.transaction() as connection:
        found = [_Row.of(number, rule) for number, rule in rules.rules(connection).items()]
    print_rows(COLUMNS, found, form)


def _said(**values: Any) -> dict[str, Any]:
    """The options that were given, as the keys of a rule."""
    above, below = values.pop("above"), values.pop("below")
    if above is not None and below is not None:
        raise UsageError("say either --above or --below")
    if above is not None or below is not None:
        values |= {
            "comparison": ">" if below is None else "<",
            "threshold": above if below is None else below,
        }
    return {name: value for name, value in values.items() if value is not None}


@app.command()
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name, which its alerts have too.")],
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
        str | None, _option("--kind", "threshold, rate, changed, gone, no_data, lab_down, network_down, ...")
    ] = None,
    enabled: Enabled = None,
    note: Note = None,
    quiet: Quiet = False,
) -> None:
    """Add a rule.

    A rule of the same name for a lab or a system takes the place of the wider one there:

    labmon alerts rules add cpu_high --metric cpu_percent --above 99 --for 1h --lab A-101
    """
    import msgspec

    from labmon.alerts import rules

    values = _said(
        name=name,
        metric=metric,
        above=above,
        below=below,
        clear=clear,
        clear_for=clear_for,
        repeat=repeat,
        steady=steady,
        severity=severity,
        kind=kind,
        enabled=enabled,
        note=note,
    )
    values |= {} if hold is None else {"for": hold}
    if "threshold" not in values and kind not in ("gone",) and enabled is not False:
        raise UsageError("say --above or --below")
    rule = rules.convert(values, f"rule {name}")
    with open_store(load(ctx)) as store, store.transaction() as connection:
        whose = scope(connection, dept, lab, system)
        rule = msgspec.structs.replace(rule, dept=whose.dept_id, lab=whose.lab_id, system=whose.system_id)
        same = [
            n for n, one in rules.rules(connection).items() if (one.name, one.scope) == (name, rule.scope)
        ]
        if same:
            raise UsageError(
                f"there is a rule {name} for {rule.scope}. Change it with: labmon alerts rules set {same[0]}"
            )
        number = rules.put(connection, rule)
    if not quiet:
        say(f"rule {number}: {name}, {condition(rule)}, {rule.scope}")


@app.command("set")
def set_(
    ctx: typer.Context,
    which: Annotated[list[str], typer.Argument(metavar="RULE...", help="Their names or numbers.")],
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
    quiet: Quiet = False,
) -> None:
    """Change rules: what is not given stays as it is.

    labmon alerts rules set cpu_high --above 90 --clear 70 --for 30m
    """
    import msgspec

    from labmon.alerts import rules

    values = _said(
        above=above,
        below=below,
        clear=clear,
        clear_for=clear_for,
        repeat=repeat,
        steady=steady,
        severity=severity,
        enabled=enabled,
        note=note,
    )
    values |= {} if hold is None else {"for": hold}
    if not values:
        raise UsageError("say what to change: --above, --for, --severity, --disable, ...")
    with open_store(load(ctx)) as store, store.transaction() as connection:
        for one in dict.fromkeys(which):
            number, rule = rules.find(connection, one)
            names = {info.name: info.encode_name for info in msgspec.structs.fields(rule)}
            before = {names[name]: value for name, value in msgspec.structs.asdict(rule).items()}
            rules.put(connection, rules.convert(before | values, f"rule {rule.name}"), number)
    if not quiet:
        say(f"changed: {', '.join(dict.fromkeys(which))}")


@app.command()
def remove(ctx: typer.Context, which: Which, quiet: Quiet = False) -> None:
    """Remove a rule. Its alerts end, and stay in the history; to keep it for later: set RULE --disable."""
    from labmon.alerts import rules

    with open_store(load(ctx)) as store, store.transaction() as connection:
        number, rule = rules.find(connection, which)
        rules.remove(connection, number)
    if not quiet:
        say(f"removed: {rule.name}, {rule.scope}")


@app.command("export")
def export(ctx: typer.Context) -> None:
    """Print all rules as TOML, for `import`."""
    from labmon.alerts import rules

    with open_store(load(ctx)) as store, store.transaction() as connection:
        found = rules.rules(connection)
    typer.echo(rules.to_toml(list(found.values())), nl=False)


@app.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Rules as TOML; - for standard input.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove the rules that are not in the file.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Take rules from a file, all or none: over those of the same name and scope, or beside the others."""
    import sys

    from labmon.alerts import rules

    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot be read: {error}") from error
    given = rules.from_toml(text, str(file))
    with open_store(load(ctx)) as store, store.transaction() as connection:
        kept = {rules.put(connection, rule) for rule in given}
        gone = [number for number in rules.rules(connection) if replace and number not in kept]
        for number in gone:
            rules.remove(connection, number)
    if not quiet:
        removed = f", {len(gone)} removed" if gone else ""
        say(f"{len(kept)} rules taken from {file}{removed}")
