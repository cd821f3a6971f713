"""`labmon dashboard`: serve the web pages."""

import signal
from typing import TYPE_CHECKING, Annotated

import typer

from labmon.app.open import open_store
from labmon.cli.dashboard import users
from labmon.cli.extras import require_dashboard
from labmon.cli.options import load, option
from labmon.cli.output import notice
from labmon.errors import Exit, UsageError
from labmon.systemd import notify

if TYPE_CHECKING:
    from labmon.config.tables import Config, DashboardConfig

app = typer.Typer(invoke_without_command=True, help="Serve the web pages, and manage who may see them.")
app.add_typer(users.app, name="users")

ANSWER_WITHIN = 3
"""Seconds to wait for a connection to the database. A person is looking at an empty page meanwhile."""


@app.callback()
def dashboard(
    ctx: typer.Context,
    host: Annotated[
        str | None, option("--host", "HOST", "The address to listen on.", show_default="config")
    ] = None,
    port: Annotated[
        int | None, option("--port", "N", "The port.", min=1, max=65535, show_default="config")
    ] = None,
    root_path: Annotated[
        str | None, option("--root-path", "PATH", "Its path behind a reverse proxy.", show_default="config")
    ] = None,
    certificate: Annotated[
        str | None, option("--certificate", "PATH", "Serve https with it.", show_default="config")
    ] = None,
    key: Annotated[
        str | None, option("--key", "PATH", "The certificate's private key.", show_default="config")
    ] = None,
) -> None:
    """Serve the web pages until stopped."""
    if ctx.invoked_subcommand:
        return
    flags = {
        "dashboard.host": host,
        "dashboard.port": port,
        "dashboard.root_path": root_path,
        "dashboard.certificate": certificate,
        "dashboard.key": key,
    }
    _serve(load(ctx, flags))


def _serve(config: "Config") -> None:
    require_dashboard()
    import msgspec

    from labmon.config.units import Seconds
    from labmon.dashboard.context import PATIENCE, Context
    from labmon.dashboard.listen import is_loopback, listen
    from labmon.dashboard.security import certificate
    from labmon.dashboard.server import serve
    from labmon.store.accounts.users import any_exist

    settings = config.dashboard
    certificate.check(settings)
    certificate.log_warnings(settings)
    patience = Seconds(min(ANSWER_WITHIN, config.database.connect_timeout))
    database = msgspec.structs.replace(config.database, connect_timeout=patience)
    config = msgspec.structs.replace(config, database=database)
    with (
        listen(settings.host, settings.port) as listener,
        open_store(config, answer_within=PATIENCE) as store,
    ):
        with store.transaction() as connection:
            has_users = any_exist(connection)
        if not has_users and not is_loopback(listener):
            raise UsageError(
                f"no user exists yet, and anybody could reach {settings.host}. Add one first: labmon "
                "dashboard users add NAME --role admin"
            )
        hint = "" if has_users else " (no user exists yet: for you alone, from this machine)"

        def ready() -> None:
            notice(f"dashboard at {_address(settings)}{hint}")
            notify("READY=1")

        signals = serve(Context(config, store), listener, ready)
    if signal.SIGINT in signals:
        raise typer.Exit(Exit.INTERRUPTED)


def _address(settings: "DashboardConfig") -> str:
    """What to type into a browser."""
    if settings.url:
        return settings.url
    import socket

    host = socket.gethostname() if settings.host in ("0.0.0.0", "::") else settings.host
    host = f"[{host}]" if ":" in host else host
    scheme = "https" if settings.certificate else "http"
    return f"{scheme}://{host}:{settings.port}{settings.root_path}/"
