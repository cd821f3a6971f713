"""`labmon alerts test`: who would be told of an alert, and why; and, if asked to, telling them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from labmon.cli.output import Column, Format, print_rows, say
from labmon.cli.scopes import System
from labmon.cli.wiring import As, load, open_store
from labmon.errors import Exit, UsageError

if TYPE_CHECKING:
    from labmon.alerts.example import Example
    from labmon.config import Config, Target


@dataclass(frozen=True)
class _Row:
    """A target as it is listed."""

    target: str
    told: bool
    why: str


COLUMNS = [
    Column("target", "Target"),
    Column("told", "Told", lambda told: "yes" if told else "no"),
    Column("why", "Why", gives=True),
]


def test(
    ctx: typer.Context,
    rule: Annotated[
        str | None,
        typer.Argument(metavar="[RULE]", help="A rule, by name or ID. Without one: a mere test."),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="TARGET", help="Only this target.", show_default=False)
    ] = None,
    system: System = None,
    why: Annotated[
        bool, typer.Option("--why/--no-why", help="Say why each target is told, or is not.")
    ] = True,
    send: Annotated[bool, typer.Option("--send", help="Tell them.")] = False,
    form: As = Format.table,
) -> None:
    """Show who would be told if a rule fired now; nobody is, without --send.

    labmon alerts test cpu_high --system 42
    labmon alerts test --to admins --send
    """
    from labmon.alerts.audience import verdicts
    from labmon.alerts.example import example

    config = load(ctx)
    targets = _targets(config, to)
    with open_store(config) as store, store.transaction() as connection:
        made = example(connection, rule, system)
    if rule is None and to is not None:
        rows = [_Row(to, True, "it was named")]
    else:
        found = verdicts(made.alert, made.departments, made.labs, targets)
        rows = [_Row(one.target.name, one.told and not made.untold, made.untold or one.why) for one in found]
    print_rows(COLUMNS if why else COLUMNS[:2], rows, form)
    if send:
        told = {row.target for row in rows if row.told}
        _send(config, [one for one in targets if one.name in told], made)


def _targets(config: "Config", name: str | None) -> "list[Target]":
    targets = config.notify.targets
    if not targets:
        raise UsageError("nobody is to be told: name somebody in [notify] targets, see config.example.toml")
    chosen = [one for one in targets if name is None or one.name == name]
    if not chosen:
        raise UsageError(f"there is no target {name!r}. There are: {', '.join(one.name for one in targets)}")
    return chosen


def _send(config: "Config", targets: "list[Target]", made: "Example") -> None:
    """Tell these now, past the queue. Exit code 6 when one could not be."""
    from labmon.alerts.notification import Notification
    from labmon.alerts.notify import open_sender
    from labmon.alerts.sender import SendFailed
    from labmon.store.deliveries import Delivery

    failed = False
    for target in targets:
        delivery = Delivery(
            *(0, target.name, made.alert, made.about.name, made.about.place, made.alert.at),
            *("waiting", None, 0, None),
        )
        try:
            open_sender(target, config.notify).send(Notification.of(target.name, [delivery]))
            say(f"{target.name}: told")
        except SendFailed as error:
            failed = True
            say(f"{target.name}: not told: {error}")
    if not targets:
        say("nobody to tell")
    if failed:
        raise typer.Exit(Exit.SOME_FAILED)
