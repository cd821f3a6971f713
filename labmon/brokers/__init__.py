"""Durable queues: `base` is the contract, the other modules keep it on one server each."""

from labmon.brokers.base import Broker
from labmon.config import Config
from labmon.errors import BrokerRefused


def open_broker(config: Config, *, store_url: str) -> Broker:
    """The broker that `[queue]` names, for queues in the store's own database when it names no host.

    It connects when it is first used. Raises BrokerRefused for an address that is none.
    """
    queue = config.queue
    ttl = {queue.metrics_queue: float(queue.ttl)} if queue.ttl else {}
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
                    dbname=queue.database or "labmon",
                )
            return PostgresBroker(conninfo, lease=float(queue.lease), ttl=ttl)
        case "rabbitmq":
            from labmon.brokers.rabbitmq import RabbitBroker
            from labmon.brokers.rabbitmq_connection import Server

            server = Server(
                queue.host or "localhost",
                queue.port,
                queue.user or "guest",
                queue.password or ("" if queue.user else "guest"),
                vhost=queue.vhost,
                tls=queue.tls,
                tls_ca=queue.tls_ca,
                tls_verify=queue.tls_verify,
                management_url=queue.management_url,
            )
            bindings = {
                queue.discovery_queue: "discovery.#",
                queue.metrics_queue: "metrics.#",
                queue.alert_queue: "alerts.#",
            }
            return RabbitBroker(server, bindings=bindings, ttl=ttl)
        case "redis":
            from labmon.brokers.redis import RedisBroker

            if not (queue.database or "0").isdecimal():
                raise BrokerRefused(
                    f"[queue] database: Redis has numbers, not {queue.database!r}. Leave it empty"
                )
            return RedisBroker(
                queue.host or "localhost",
                queue.port or 6379,
                user=queue.user,
                password=queue.password,
                database=int(queue.database or 0),
                tls=queue.tls,
                tls_ca=queue.tls_ca,
                tls_verify=queue.tls_verify,
                lease=float(queue.lease),
                ttl=ttl,
            )
