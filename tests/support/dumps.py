"""Databases of earlier labmons, kept by pg_dump, and what two databases have in common.

tests/data/schema-COMMIT.sql.gz is a whole dump (`pg_dump --no-owner --no-privileges`, without the lines that
begin with a backslash and "restrict") of a database that the labmon of that commit made and filled: rows in
every table, several partitions, a packed day and one on its way, alerts in every state, the queue. Each
release adds one; every one of them has to become what a new database is.
"""

import gzip
import re
import subprocess
from pathlib import Path

from psycopg.sql import SQL, Identifier

from labmon.brokers.postgres.broker import PostgresBroker
from labmon.store.metrics.partitions import UNITS, partitions

DUMPS = sorted((Path(__file__).parents[1] / "data").glob("schema-*.sql.gz"))

RECORDS = {"labmon_schema", "labmon_schema_functions"}
"""The tables that say what was applied."""

MIGRATED_RULES = ("gpu_changed",)
"""Rules that migrations add. `contents` leaves them out, and the sequence of their numbers."""


def restore(server, name, text):
    """Fill an empty database from what pg_dump wrote, which may be compressed."""
    if isinstance(text, Path):
        text = gzip.decompress(text.read_bytes())
    command = [server.bin / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", server.socket_conninfo(name)]
    subprocess.run(command, input=text, check=True, capture_output=True)


def columns(connection):
    """{table or sequence: its columns}"""
    rows = connection.execute(
        "SELECT relname, array_agg(attname::text ORDER BY attnum) "
        "FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid "
        "WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped GROUP BY relname"
    )
    return dict(rows.fetchall())


def contents(connection, those=None):
    """Of each table and sequence, partitions too, how many rows and a checksum of them (or of `those`:
    columns by table; tables that came later are left out)."""
    those = those or columns(connection)
    names = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')"
    )
    query = SQL(
        'SELECT count(*), md5(string_agg(row::text, chr(10) ORDER BY row::text COLLATE "C")) '
        "FROM (SELECT {} FROM {} WHERE {}) AS row"
    )
    old = {"alert_rules": SQL("name <> ALL ({})").format(list(MIGRATED_RULES))}
    return {
        name: connection.execute(
            query.format(
                SQL(", ").join(map(Identifier, those[name])), Identifier(name), old.get(name, SQL("true"))
            )
        ).fetchone()
        for (name,) in names.fetchall()
        if name in those and name not in RECORDS | {"alert_rules_rule_id_seq"}
    }


def schema(server, name):
    """What pg_dump says of a database without its rows, whatever the order.

    Of a copy that was dumped and restored itself: some expressions are written differently after that.
    """
    with server.database() as copy:
        restore(server, copy, _schema(server, name))
        text = _schema(server, copy).decode()
    _, *entries = re.split(r"^--\n-- Name: .*\n--\n", text, flags=re.MULTILINE)
    ignored = ("SET ", "\\", "-- PostgreSQL database dump complete")
    return {
        "\n".join(
            line for line in entry.splitlines() if line not in ("", "--") and not line.startswith(ignored)
        )
        for entry in entries
    }


def _schema(server, name):
    command = [server.bin / "pg_dump", "--schema-only", "--no-owner", "-d", server.socket_conninfo(name)]
    return subprocess.run(command, check=True, capture_output=True).stdout


def grown_alike(connection, url, other):
    """Give a new database what another has got by being used: partitions, and the queue. Commits."""
    for table, unit in UNITS.items():
        for part in partitions(other, table):
            connection.execute("SELECT labmon_partition(%s, %s, %s)", [table, unit, part.day])
    connection.commit()
    with_queue(url)


def with_queue(url):
    """Connect to the queue in a database, which makes its tables or brings them up to date."""
    broker = PostgresBroker(url)
    broker.declare("metrics_queue")
    broker.close()
