"""The TLS settings of `[queue]`: those that would have no effect are refused."""

from labmon.config.tables import QueueConfig
from labmon.errors import ConfigError


def check(settings: QueueConfig) -> None:
    """Raises ConfigError for a setting that the broker cannot honour."""
    given = [
        name
        for name, is_set in (
            ("tls", settings.tls),
            ("tls_ca", bool(settings.tls_ca)),
            ("tls_verify", not settings.tls_verify),
        )
        if is_set
    ]
    if not given:
        return
    names = " and ".join(given)
    if settings.in_store:
        raise ConfigError(
            f"[queue] {names}: the queue is in the [database], which has no such setting. Leave it out, and "
            "add sslmode=verify-full to [database] url; or name a [queue] host"
        )
    if settings.host.startswith("/"):
        raise ConfigError(f"[queue] {names}: there is no TLS over the socket {settings.host}. Leave it out")
    by_https = settings.type == "rabbitmq" and settings.management_url.startswith("https:")
    if not settings.tls and not by_https:
        raise ConfigError(f"[queue] {names}: has no effect without tls = true")
    if settings.tls_ca and not settings.tls_verify:
        raise ConfigError("[queue] tls_ca: has no effect with tls_verify = false. Leave one of them out")
