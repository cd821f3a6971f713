"""Durable queues. `base` is the contract; every broker keeps it on one server.

base       what a broker promises; what its callers may rely on
memory     inside the process: the reference, and what fast tests run on
postgres/  tables and functions in a database, claimed with SKIP LOCKED and a lease
rabbitmq/  quorum queues, confirmed publishing, a thread for each connection
redis/     streams with one consumer group, settled by Lua scripts
tls        refuses TLS settings of `[queue]` that would have no effect
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labmon.brokers.base import Broker
    from labmon.config.tables import QueueConfig


def open_broker(settings: "QueueConfig", *, store_url: str) -> "Broker":
    """The broker that `[queue]` names, for queues in the store's own database when it names no host.

    It connects when it is first used. Raises ConfigError for TLS settings that it cannot honour, and for an
    address that is none.
    """
    from labmon.brokers import tls

    tls.check(settings)
    lease = float(settings.lease)
    ttl = {settings.metrics_queue: float(settings.ttl)} if settings.ttl else {}
    match settings.type:
        case "postgres":
            from labmon.brokers.postgres.broker import PostgresBroker
            from labmon.brokers.postgres.conninfo import conninfo

            return PostgresBroker(conninfo(settings) if settings.host else store_url, lease=lease, ttl=ttl)
        case "rabbitmq":
            from labmon.brokers.rabbitmq.broker import RabbitBroker
            from labmon.brokers.rabbitmq.connection import RabbitEndpoint

            bindings = {
                settings.discovery_queue: "discovery.#",
                settings.metrics_queue: "metrics.#",
                settings.alert_queue: "alerts.#",
            }
            return RabbitBroker(RabbitEndpoint.of(settings), bindings=bindings, ttl=ttl)
        case "redis":
            from labmon.brokers.redis.broker import RedisBroker
            from labmon.brokers.redis.connection import RedisEndpoint

            return RedisBroker(RedisEndpoint.of(settings), lease=lease, ttl=ttl)
