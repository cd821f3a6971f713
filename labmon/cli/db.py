"""`labmon db`: the database's schema, size and maintenance."""

from datetime import datetime
from typing import Annotated

import typer

from labmon.app.inventory.db import LATE, SCHEMA, TABLES, migrated
from labmon.app.open import open_store
from labmon.cli.options import FormatOption, Quiet, flag, load
from labmon.cli.output import Format, print_change, print_rows, say
from labmon.errors import AlreadyRunning, UsageError
from labmon.readable import plural, span

app = typer.Typer(no_args_is_help=True, help="Migrate, inspect and maintain the database.")


@app.command()
def migrate(ctx: typer.Context, form: FormatOption = Format.table, quiet: Quiet = False) -> None:
    """Update the database's schema to this version of labmon. Safe to repeat."""
    from labmon.store import migrate
    from labmon.store.metrics import timescale

    config = load(ctx)
    with open_store(config, any_schema=True) as store, store.transaction() as connection:
        done = migrate.migrate(connection)
        if config.database.timescale == "auto" and timescale.is_possible(connection):
            timescale.adopt(connection, config.retention)
            say("readings are in a hypertable of TimescaleDB (experimental)")
    lines = list(migrated(done))
    print_change(form, "", *({"did": line} for line in lines), names=["did"])
    for line in [] if quiet or form is not Format.table else lines:
        say(line)


@app.command()
def status(
    ctx: typer.Context,
    tables: Annotated[bool, flag("--tables", "Show the contents and sizes of tables.")] = False,
    form: FormatOption = Format.table,
) -> None:
    """Show the schema's version and parts, or with --tables what is stored and its size.

    Exit code 5 when the schema does not fit this version of labmon.
    """
    from labmon import pg
    from labmon.messages import utcnow
    from labmon.store import migrate, storage
    from labmon.store.metrics import rollup

    with open_store(load(ctx)) as store:
        with store.transaction() as connection:
            done = migrate.applied(connection)
            held = storage.stored(connection) if tables else []
            lag = rollup.lag(connection, utcnow()).total_seconds() if tables else 0
        kind = "embedded " if store.is_embedded else ""
        say(f"{kind}{pg.where(store.url)}")
    if tables:
        print_rows(TABLES, held, form)
        late = f"{span(lag)} behind. Start labmon consume, or run from cron: labmon db maintain"
        say(f"summing up: {late if lag > LATE else 'up to date'}")
        return
    print_rows(SCHEMA, done, form)
    say("the schema is up to date")


Day = Annotated[
    datetime, typer.Argument(formats=["%Y-%m-%d"], metavar="DAY", help="A day (UTC), such as 2026-03-01.")
]


@app.command()
def maintain(ctx: typer.Context, form: FormatOption = Format.table, quiet: Quiet = False) -> None:
    """Roll up, pack and drop old data. For cron, where no `labmon consume` runs, which does it too."""
    from labmon.store import housekeeping

    config = load(ctx)
    with open_store(config) as store:
        try:
            done = housekeeping.tick(store, config.retention, config.events, days=ALL)
        except AlreadyRunning as error:  # another process does it
            if not quiet:
                say(str(error))
            return
    said = (
        f"{plural(done.summed_up, 'bucket')} summed up, {plural(len(done.packed), 'day')} packed, "
        f"{plural(len(done.dropped), 'partition')} dropped"
    )
    row = {name: getattr(done, name) for name in ("summed_up", "packed", "dropped", "postponed")}
    print_change(form, said, row, quiet=quiet)
    for name in done.postponed:
        say(f"{name} is in use: postponed to the next run")


ALL = 100_000


@app.command()
def pack(ctx: typer.Context, day: Day, form: FormatOption = Format.table, quiet: Quiet = False) -> None:
    """Pack the readings of a day, and undo `labmon db unpack` of it."""
    from labmon.messages import utcnow
    from labmon.store.metrics import pack

    with open_store(load(ctx)) as store, store.transaction() as connection:
        pack.repack(connection, day.date())
        parts = [part for part in pack.ripe(connection, utcnow(), 0) if part.day == day.date()]
        if not parts:
            raise UsageError(f"{day:%Y-%m-%d}: nothing to pack (a day can be packed a day after its end)")
        done = pack.pack(connection, parts[0])
    if done is None:
        raise UsageError(f"{day:%Y-%m-%d} is in use, or not summed up yet. Try: labmon db maintain")
    row = {"day": day.date(), "readings": done, "packed": True}
    print_change(form, f"{plural(done, 'reading')} packed", row, quiet=quiet)


@app.command()
def unpack(ctx: typer.Context, day: Day, form: FormatOption = Format.table, quiet: Quiet = False) -> None:
    """Turn a packed day into plain rows, until `labmon db pack` of that day."""
    from labmon.messages import utcnow
    from labmon.store.metrics import pack

    if day.date() > utcnow().date():
        raise UsageError(f"{day:%Y-%m-%d} is in the future")
    with open_store(load(ctx)) as store, store.transaction() as connection:
        done = pack.unpack(connection, day.date())
    said = f"{plural(done, 'reading')} unpacked" if done else f"{day:%Y-%m-%d} is not packed"
    print_change(form, said, {"day": day.date(), "readings": done, "packed": False}, quiet=quiet)
