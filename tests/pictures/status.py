"""Draw examples/status/*.svg: a campus (`tests.support.campus`) in terminals of 80 and 120 columns."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
import time
from pathlib import Path

import psycopg
from rich.console import Console
from rich.text import Text

from labmon.store.migrate import migrate
from tests.acceptance.conftest import LABMON, temporary_lab
from tests.pictures.dashboard import workers
from tests.support import campus
from tests.support.servers import PostgresServer

EXAMPLES = Path(__file__).parents[2] / "examples/status"
SIZES = [(80, 24), (120, 36)]
PICTURES = {
    "status": "status",
    "systems-list": "systems list --lab ENG-101 --sort -status --limit 14",
    "systems-show": "systems show 6",
}

CAMPUS = """
UPDATE systems SET hostname = 'eng-101-pc04' WHERE system_id = 4;
UPDATE systems SET hostname = hostname || '.lab.example.edu', last_seen = now();
UPDATE systems SET first_seen = now() - interval '26 hours';
DELETE FROM alert_incidents WHERE severity = 'critical' AND acknowledged_at IS NULL;
"""


def fill(url: str) -> None:
    """The campus, without critical alerts that are new."""
    with psycopg.connect(url) as connection:
        campus.build(connection, systems=312, labs=8, hours=2)
        connection.execute(CAMPUS)


def shown(arguments: list[str], environ: dict[str, str], columns: int, rows: int) -> str:
    """What the command prints on a terminal of this size, messages too."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = subprocess.Popen([LABMON, *arguments], env=environ, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    text = b""
    while True:
        try:
            text += os.read(ours, 65536)
        except OSError:  # the terminal's other side is closed
            break
    os.close(ours)
    process.wait(30)
    return text.decode().replace("\r\n", "\n")


def draw(name: str, arguments: list[str], text: str, columns: int) -> None:
    """A picture of the terminal."""
    with open(os.devnull, "w") as nothing:
        console = Console(record=True, width=columns, file=nothing, highlight=False)
        console.print(Text("$ labmon " + " ".join(arguments), style="bold"))
        console.print(Text.from_ansi(text.rstrip("\n")))
        console.save_svg(
            str(EXAMPLES / f"{name}-{columns}.svg"),
            title="labmon " + " ".join(arguments[:2]),
            unique_id=f"{name}-{columns}",
        )


def main() -> None:
    """Start a server, run each command in each terminal, write the pictures."""
    EXAMPLES.mkdir(exist_ok=True)
    with PostgresServer() as server, server.database() as name, temporary_lab() as lab:
        url = lab.environ["LABMON_DATABASE_URL"] = server.url(name)
        with psycopg.connect(url) as connection:
            migrate(connection)
        lab.environ["LABMON_QUEUE_ENABLED"] = "true"
        lab.run("setup-queues")
        environ = {k: v for k, v in lab.env.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
        environ["TERM"] = "xterm-256color"
        with workers(environ):
            while not lab.run("consume", "--status", "--format", "csv").stdout.count("\n") > 1:
                time.sleep(0.5)
            fill(url)
            for picture, command in PICTURES.items():
                for columns, rows in SIZES:
                    text = shown(command.split(), environ, columns, rows)
                    draw(picture, command.split(), text, columns)
                    print(text)


if __name__ == "__main__":
    main()
