"""Durable queues: `base` is the contract, the other modules keep it on one server each."""

from labmon.brokers.base import Broker
from labmon.config import Config


def open_broker(config: Config, *, store_url: str) -> Broker:
    """The broker that `[queue]` names, for queues in the store's own database when it names no host.

    It connects when it is first used. Raises BrokerRefused for an address that is none.
    """
    queue = config.queue
    match queue.type:
        case "postgres":
            from psycopg.conninfo import make_conninfo

            from labmon.brokers.postgres import PostgresBroker

            conninfo = store_url
            if queue.host:
                conninfo = make_conninfo(
                    host=queue.host,
                    port=queue.port or None,
                    user=queue.user or None,
                    password=queue.password or None,
                    dbname=queue.database,
                )
            return PostgresBroker(conninfo, lease=float(queue.lease))
