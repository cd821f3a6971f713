"""Telling the database how full this machine's spool is."""

import logging
import socket
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.errors import InsufficientPrivilege

from labmon.config import Config
from labmon.spool import Spool, SpoolError
from labmon.store import spools

logger = logging.getLogger(__name__)


def report_spool(connection: Connection[Any], config: Config, now: datetime) -> None:
    """In the caller's transaction. Where it may not be told, or not be read, that is no more than a note."""
    spool = Spool.of(config)
    try:
        with connection.transaction():
            spools.record(connection, socket.gethostname(), str(spool.path), spool.fill(), now)
    except (SpoolError, InsufficientPrivilege) as error:
        logger.info("the spool's fill is not told: %s", error)
