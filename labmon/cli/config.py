"""`labmon config`: the file, the effective values, the message formats."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from labmon import settings
from labmon.cli.output import Column, Format, print_rows, say
from labmon.cli.wiring import As
from labmon.errors import UsageError

app = typer.Typer(no_args_is_help=True, help="The configuration file and the message formats.")


@dataclass(frozen=True)
class _Row:
    key: str
    value: str
    source: str


@app.command()
def init(
    path: Annotated[
        Path | None, typer.Argument(help="The file to write.", show_default="your own folder")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
) -> None:
    """Write a commented configuration file with every key at its default."""
    path = path or settings.user_file()
    if path.is_dir():
        path /= "config.toml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # It will hold passwords, so nobody else may ever open it, not even for the moment before a chmod.
        mode = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
        with os.fdopen(os.open(path, mode, 0o600), "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(settings.sample())
    except FileExistsError as error:
        raise UsageError(f"{path} is there already. Overwrite it with --force") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    say(f"wrote {path}")


@app.command()
def show(ctx: typer.Context, form: As = Format.table) -> None:
    """Show every effective value and where it came from, with secrets masked."""
    loaded = settings.load(ctx.obj)
    columns = [Column("key", "Key"), Column("value", "Value", gives=True), Column("source", "From")]
    print_rows(columns, [_Row(*row) for row in loaded.rows()], form)


@app.command()
def check(ctx: typer.Context) -> None:
    """Check the configuration: exit 0 when it is good, else 2 with the file, table and key."""
    loaded = settings.load(ctx.obj)
    if loaded.file is None:
        say("good: no configuration file, defaults and environment only")
        return
    if loaded.holds_secret() and loaded.file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        say(f"{loaded.file} holds a password and others may read it: chmod 600 {loaded.file}")
    say(f"good: {loaded.file}")


@app.command()
def schema(
    name: Annotated[str, typer.Argument(help="discovery, scan-finished, system-status, metrics or alert")],
) -> None:
    """Print the JSON Schema of a message, for programs that send their own."""
    import json

    from labmon.messages import BY_NAME
    from labmon.messages import schema as schema_of

    if name not in BY_NAME:
        raise UsageError(f"there is no message {name!r}. There are: {', '.join(BY_NAME)}")
    typer.echo(json.dumps(schema_of(BY_NAME[name]), indent=2))
