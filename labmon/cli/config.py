"""`labmon config`: the file, the effective values, the message formats."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from labmon.cli.options import FormatOption, flag
from labmon.cli.output import Format, print_change, print_rows, say
from labmon.errors import Exit, PermissionNeeded, UsageError
from labmon.table import Column
from labmon.text import nearest
from labmon.trust import check_place

app = typer.Typer(no_args_is_help=True, help="Make, show and check the configuration; message formats.")


@dataclass(frozen=True)
class _Row:
    key: str
    value: str
    source: str


@dataclass(frozen=True)
class _Finding:
    """What `config check` says, for programs. `level` is critical for a fault, warning for advice."""

    level: str
    said: str


@app.command()
def init(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="PATH", help="The file to write.", show_default="~/.config/labmon/config.toml"
        ),
    ] = None,
    force: Annotated[bool, flag("--force", "Overwrite an existing file.")] = False,
    form: FormatOption = Format.table,
) -> None:
    """Write a commented configuration file with every key at its default."""
    from labmon.config import load, reference

    path = path or load.user_file()
    if path.is_dir():
        path /= "config.toml"
    try:
        check_place(path)  # or labmon would refuse the file that it has written itself
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700, parents=True)
            say(f"made the folder {path.parent}")
        # It will hold passwords: others must not be able to open it, not even in the moment before a chmod.
        mode = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
        with os.fdopen(os.open(path, mode, 0o600), "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(reference.sample())
    except FileExistsError as error:
        raise UsageError(f"{path} exists already. Overwrite it with --force") from error
    except (NotADirectoryError, IsADirectoryError) as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    except OSError as error:
        raise PermissionNeeded(f"{path}: cannot be written: {error.strerror}. Choose another PATH") from error
    print_change(form, f"wrote {path}", {"path": str(path)})


@app.command()
def show(ctx: typer.Context, form: FormatOption = Format.table) -> None:
    """Show every effective value and its source, with secrets masked."""
    from labmon.config import load

    loaded = load.load(ctx.obj)
    columns = [Column("key", "Key"), Column("value", "Value", gives=True), Column("source", "From")]
    print_rows(columns, [_Row(*row) for row in loaded.rows()], form)


@app.command()
def check(ctx: typer.Context, form: FormatOption = Format.table) -> None:
    """Check the configuration, and print every fault with its file, table and key.

    The file's values are checked, also those that the environment overrides, and the values in force. Exit
    code 0 when there is none, else 2.
    """
    from labmon.app.check_config import advice, faults
    from labmon.config import load

    loaded, found = load.read(ctx.obj)
    written, hidden = load.as_written(loaded)
    found = list(dict.fromkeys([*found, *faults(loaded), *hidden, *faults(written)]))
    advised = list(advice(loaded))
    if (
        not found
        and loaded.file is not None
        and loaded.holds_secret()
        and loaded.file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)
    ):
        advised.append(f"{loaded.file} holds a password and others may read it: chmod 600 {loaded.file}")
    if form is Format.table:
        for fault in found:
            say(f"labmon: {fault}")
        for line in advised:
            say(line)
        if not found:
            say(f"good: {loaded.file or 'no configuration file, defaults and environment only'}")
    else:
        rows = [_Finding("critical", fault) for fault in found]
        rows += [_Finding("warning", line) for line in advised]
        print_rows([Column("level", "Level"), Column("said", "Said")], rows, form)
    if found:
        raise typer.Exit(Exit.USAGE)


@app.command()
def schema(
    name: Annotated[
        str,
        typer.Argument(metavar="MESSAGE", help="discovery, scan-finished, system-status, metrics or alert."),
    ],
) -> None:
    """Print the JSON Schema of a message, for programs that send their own."""
    import json

    from labmon.messages import BY_NAME
    from labmon.messages import schema as schema_of

    if name not in BY_NAME:
        raise UsageError(f"there is no message {name!r}{nearest(name, BY_NAME)}")
    typer.echo(json.dumps(schema_of(BY_NAME[name]), indent=2))
