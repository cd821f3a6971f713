"""`labmon alerts template`: the texts of notifications."""

from typing import Annotated

import typer

from labmon.app.open import open_store
from labmon.cli.options import Quiet, flag, load
from labmon.cli.output import notice, say
from labmon.errors import StoreError
from labmon.text import foreign

app = typer.Typer(no_args_is_help=True, help="Show and check the texts of notifications.")


@app.command()
def show(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="A target, for its template, or built-in.", show_default="built-in"
        ),
    ] = "built-in",
) -> None:
    """Print a template: the built-in one, to begin with, or that of a target.

    labmon alerts template show > mail.j2
    """
    from labmon.app.alerts import templates

    typer.echo(foreign(templates.source(load(ctx).notify, name), lines=True), nl=False)


@app.command()
def check(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="PATH", help="The template's file.")],
    html: Annotated[bool, flag("--html", "Print the HTML of the mail instead of its text.")] = False,
    quiet: Quiet = False,
) -> None:
    """Render a template with an example, and with the last alert that was notified. A fault names its line.

    labmon alerts template check mail.j2
    """
    from labmon.app.alerts import templates

    config, last = load(ctx), None
    try:
        with open_store(config) as store, store.transaction() as connection:
            last = templates.last_alert(connection)
    except StoreError as error:
        notice(f"checked with an example only: {error}")
    made = templates.check(config, file, last)
    if quiet:
        return
    for one in made:
        say(f"with {one.of}:")
        if html:
            typer.echo(foreign(one.rendered.html or "", lines=True))
        else:
            typer.echo(
                foreign(f"Subject: [labmon] {one.rendered.title}\n\n{one.rendered.text}\n", lines=True)
            )
    if any(one.rendered.html is None for one in made):
        say('it has no HTML: begin it with {% extends "built-in" %} to keep the built-in one')
