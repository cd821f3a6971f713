"""The address of the queue's database, as libpq wants it."""

import os
import ssl
from pathlib import Path

from labmon.config.tables import QueueConfig
from labmon.pg import make_conninfo

_SYSTEM = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


def conninfo(settings: QueueConfig) -> str:
    """Of the server that `[queue]` host names."""
    return make_conninfo(
        host=settings.host,
        port=settings.port or None,
        user=settings.user or None,
        password=settings.password or None,
        dbname=settings.database or "labmon",
        **tls(settings),
    )


def tls(settings: QueueConfig) -> dict[str, str]:
    """libpq's names for the TLS settings. Without tls libpq encrypts where the server can."""
    if not settings.tls:
        return {}
    if not settings.tls_verify:
        return {"sslmode": "require"}
    return {"sslmode": "verify-full", "sslrootcert": settings.tls_ca or _system_certificates()}


def _system_certificates() -> str:
    """libpq's own "system" is where its OpenSSL was built for, which may be another system."""
    named = (os.environ.get("SSL_CERT_FILE"), ssl.get_default_verify_paths().cafile, *_SYSTEM)
    return next((file for file in named if file and Path(file).is_file()), "system")
