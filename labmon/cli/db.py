"""`labmon db`: the schema."""

from typing import Annotated

import typer

from labmon.cli.output import Column, Format, print_rows, say
from labmon.cli.wiring import As, Quiet, load, open_store
from labmon.errors import Exit

app = typer.Typer(no_args_is_help=True, help="The database and its schema.")


@app.command()
def migrate(ctx: typer.Context, quiet: Quiet = False) -> None:
    """Bring the database's schema up to date. Safe to repeat."""
    from labmon.store import migrate

    with open_store(load(ctx), any_schema=True) as store, store.transaction() as connection:
        done = migrate.migrate(connection)
    for migration in [] if quiet else done:
        say(f"applied {migration.version:04d} {migration.name}")
    if not done and not quiet:
        say("the schema is up to date")


@app.command()
def status(
    ctx: typer.Context,
    form: As = Format.table,
    check: Annotated[bool, typer.Option("--check", help="Exit with 5 when something is missing.")] = False,
) -> None:
    """Show which migrations the database has, and which it lacks."""
    from labmon import pg
    from labmon.store import migrate

    with open_store(load(ctx), any_schema=True) as store:
        with store.transaction() as connection:
            done = migrate.applied(connection)
            missing = migrate.missing(connection)
        kind = "embedded " if store.is_embedded else ""
        say(f"{kind}{pg.where(store.url)}")
    print_rows(
        [
            Column("version", "Version", right=True),
            Column("name", "Name"),
            Column("applied_at", "Applied", lambda at: f"{at:%Y-%m-%d %H:%M:%S %Z}"),
        ],
        done,
        form,
    )
    for migration in missing:
        say(f"missing {migration.version:04d} {migration.name}; apply it with: labmon db migrate")
    if missing and check:
        raise typer.Exit(Exit.STORE)
