"""`labmon dashboard users`: who may log in."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from labmon.app.audit import WHERE
from labmon.app.scope import current_user
from labmon.cli.confirm import confirm
from labmon.cli.options import FormatOption, Yes, choices, connected, option
from labmon.cli.output import Format, print_change, print_rows
from labmon.errors import UsageError
from labmon.files import open_regular
from labmon.readable import ago
from labmon.store.accounts.roles import ROLES
from labmon.table import Column

if TYPE_CHECKING:
    from labmon.dashboard.accounts import Actor

app = typer.Typer(no_args_is_help=True, help="List, add, change and remove those who may log in.")

COLUMNS = [
    Column("name", "Name"),
    Column("role", "Role"),
    Column("last_login_at", "Last login", ago, right=True, absent="never"),
    Column("sessions", "Sessions", right=True),
    Column("tokens", "Tokens", right=True),
]

Name = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")]
PasswordFile = Annotated[
    str | None,
    option("--password-file", "PATH", "Read the password from a file; - for stdin.", show_default="ask"),
]


@app.command("list")
def list_users(ctx: typer.Context, form: FormatOption = Format.table) -> None:
    """List the users."""
    from labmon.store.accounts import users

    with connected(ctx) as connection:
        found = users.users(connection)
    print_rows(COLUMNS, found, form, "no user exists. Add one: labmon dashboard users add NAME --role admin")


@app.command()
def add(
    ctx: typer.Context,
    name: Name,
    role: Annotated[str, option("--role", choices(ROLES), "What they may do.", show_default=True)] = "viewer",
    password_file: PasswordFile = None,
    form: FormatOption = Format.table,
) -> None:
    """Add a user. Viewers read, operators also acknowledge and replay, admins also change rules and users."""
    from labmon.dashboard import accounts

    name, chosen = accounts.user_name(name), accounts.role_name(role)
    password = _password(password_file, name)
    with connected(ctx) as connection:
        accounts.add_user(connection, _actor(), name, chosen, password)
    print_change(form, f"user {name} may log in as {chosen}", {"name": name, "role": chosen})


@app.command("set")
def set_user(
    ctx: typer.Context,
    name: Name,
    role: Annotated[str | None, option("--role", choices(ROLES), "What they may do.")] = None,
    password: Annotated[
        bool, typer.Option("--password", help="Ask for a new password. Ends all their sessions.")
    ] = False,
    password_file: PasswordFile = None,
    form: FormatOption = Format.table,
) -> None:
    """Change a user's role or password."""
    from labmon.dashboard import accounts

    name = accounts.user_name(name)
    chosen = accounts.role_name(role) if role is not None else None
    new = _password(password_file, name) if password or password_file is not None else None
    with connected(ctx) as connection:
        accounts.change_user(connection, _actor(), name, role=chosen, password=new)
    print_change(
        form, f"user {name} changed", {"name": name, "role": chosen, "password_changed": new is not None}
    )


@app.command()
def remove(ctx: typer.Context, name: Name, yes: Yes = False, form: FormatOption = Format.table) -> None:
    """Remove a user, with all their sessions and tokens."""
    from labmon.dashboard import accounts

    name = accounts.user_name(name)
    confirm(f"Remove user {name}?", yes=yes)
    with connected(ctx) as connection:
        accounts.remove_user(connection, _actor(), name)
    print_change(form, f"user {name} removed", {"name": name})


def _actor() -> "Actor":
    from labmon.dashboard.accounts import Actor

    return Actor(current_user(), WHERE)


def _password(file: str | None, name: str) -> str:
    """From a file, or asked for twice. Never an argument: those are shown to every account of a machine."""
    from labmon.dashboard.security import passwords

    if file is None:
        if not sys.stdin.isatty():
            raise UsageError("there is no terminal to ask for the password: give --password-file")
        password = typer.prompt(
            f"Password of {name}", hide_input=True, confirmation_prompt="Once more", err=True
        )
    else:
        password = _read(file)
    passwords.check(password, name)
    return str(password)


def _read(file: str) -> str:
    try:
        if file == "-":
            content = sys.stdin.buffer.read(10_000)
        else:
            with open_regular(file) as opened:
                content = opened.read(10_000)
        text = content.decode()
    except OSError as error:
        raise UsageError(f"--password-file: {file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--password-file: {file}: is not UTF-8") from error
    return text.removesuffix("\n").removesuffix("\r")
