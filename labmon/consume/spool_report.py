"""Tells the database how full this machine's spool is, for the alert rule `spool_full`."""

import logging
import socket
from datetime import datetime
from typing import Any

from labmon.pg import Connection, InsufficientPrivilege
from labmon.sinks.spool.spool import Spool, SpoolError
from labmon.store import spools

logger = logging.getLogger(__name__)


def report_spool(connection: Connection[Any], spool: Spool, now: datetime) -> None:
    """Record it in the caller's transaction. A spool that cannot be read, or a missing privilege, is
    logged."""
    try:
        with connection.transaction():
            spools.record(connection, socket.gethostname(), str(spool.path), spool.fill(), now)
    except (SpoolError, InsufficientPrivilege) as error:
        logger.info("how full the spool is could not be reported: %s", error)
