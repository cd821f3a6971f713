"""`labmon db`: the schema, and what is in it."""

from datetime import datetime
from typing import Annotated

import typer

from labmon.cli.output import Column, Format, print_rows, say, span, volume
from labmon.cli.wiring import As, Quiet, load, open_store
from labmon.errors import AlreadyRunning, Exit, UsageError

app = typer.Typer(no_args_is_help=True, help="The database: schema, size, upkeep.")


@app.command()
def migrate(ctx: typer.Context, quiet: Quiet = False) -> None:
    """Bring the database's schema up to date. Safe to repeat."""
    from labmon.store import migrate, timescale

    config = load(ctx)
    with open_store(config, any_schema=True) as store, store.transaction() as connection:
        done = migrate.migrate(connection)
        if config.database.timescale == "auto" and timescale.is_possible(connection):
            timescale.adopt(connection, config.retention)
            say("readings are in a hypertable of TimescaleDB (experimental)")
    for migration in [] if quiet else done:
        say(f"applied {migration.version:04d} {migration.name}")
    if not done and not quiet:
        say("the schema is up to date")


SCHEMA = [
    Column("version", "Version", right=True),
    Column("name", "Name"),
    Column("applied_at", "Applied", lambda at: f"{at:%Y-%m-%d %H:%M:%S %Z}"),
]

TABLES = [
    Column("table", "Table"),
    Column("holds", "Holds"),
    Column("parts", "Parts", right=True),
    Column("first", "From"),
    Column("last", "To"),
    Column("bytes", "Size", volume, right=True),
]


@app.command()
def status(
    ctx: typer.Context,
    tables: Annotated[bool, typer.Option("--tables", help="What the tables hold, instead.")] = False,
    form: As = Format.table,
    check: Annotated[bool, typer.Option("--check", help="Exit with 5 when something is missing.")] = False,
) -> None:
    """Show which migrations the database has and lacks, or what its tables hold and how large they are."""
    from labmon import pg
    from labmon.messages import utcnow
    from labmon.store import migrate, rollup, storage

    with open_store(load(ctx), any_schema=not tables) as store:
        with store.transaction() as connection:
            done = migrate.applied(connection)
            missing = migrate.missing(connection)
            held = storage.stored(connection) if tables else []
            lag = rollup.lag(connection, utcnow()).total_seconds() if tables else 0
        kind = "embedded " if store.is_embedded else ""
        say(f"{kind}{pg.where(store.url)}")
    if tables:
        print_rows(TABLES, held, form)
        late = f"{span(lag)} behind; is a worker running, or cron: labmon db maintain?"
        say(f"summing up: {late if lag > LATE else 'up to date'}")
        return
    print_rows(SCHEMA, done, form)
    for migration in missing:
        say(f"missing {migration.version:04d} {migration.name}; apply it with: labmon db migrate")
    if missing and check:
        raise typer.Exit(Exit.STORE)


LATE = 120
"""Seconds after which what is not summed up is worth a word: the tick is every minute."""

Day = Annotated[
    datetime, typer.Argument(formats=["%Y-%m-%d"], metavar="DAY", help="A day in UTC, such as 2026-03-01.")
]


@app.command()
def maintain(ctx: typer.Context, quiet: Quiet = False) -> None:
    """Sum up, pack and drop what is due. For cron, where no `labmon consume` runs that does it."""
    from labmon.store import housekeeping

    config = load(ctx)
    with open_store(config) as store:
        try:
            done = housekeeping.tick(store, config, days=ALL)
        except AlreadyRunning as error:  # what is wanted is being done
            if not quiet:
                say(str(error))
            return
    if not quiet:
        say(
            f"{done.summed_up} buckets summed up, {len(done.packed)} days packed, "
            f"{len(done.dropped)} partitions dropped"
        )
    for name in done.postponed:
        say(f"{name} is in use; the next time, then")


ALL = 100_000


@app.command()
def pack(ctx: typer.Context, day: Day, quiet: Quiet = False) -> None:
    """Pack the readings of a day, and let it be packed again when it was unpacked by hand."""
    from labmon.messages import utcnow
    from labmon.store import pack

    with open_store(load(ctx)) as store, store.transaction() as connection:
        pack.repack(connection, day.date())
        parts = [part for part in pack.ripe(connection, utcnow(), 0) if part.day == day.date()]
        if not parts:
            raise UsageError(f"{day:%Y-%m-%d}: nothing to pack; a day must have ended for a day")
        done = pack.pack(connection, parts[0])
    if done is None:
        raise UsageError(f"{day:%Y-%m-%d} is in use, or not summed up yet. Try: labmon db maintain")
    if not quiet:
        say(f"{done} readings packed")


@app.command()
def unpack(ctx: typer.Context, day: Day, quiet: Quiet = False) -> None:
    """Turn a packed day into plain rows again, which it stays until `labmon db pack DAY`."""
    from labmon.messages import utcnow
    from labmon.store import pack

    if day.date() > utcnow().date():
        raise UsageError(f"{day:%Y-%m-%d} is yet to come")
    with open_store(load(ctx)) as store, store.transaction() as connection:
        done = pack.unpack(connection, day.date())
    if not quiet:
        say(f"{done} readings unpacked" if done else f"{day:%Y-%m-%d} is not packed")
