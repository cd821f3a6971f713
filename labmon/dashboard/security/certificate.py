"""The certificate that the dashboard serves https with, and its key."""

import logging
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.x509 import load_pem_x509_certificate

from labmon.config.tables import DashboardConfig
from labmon.errors import ConfigError
from labmon.files import open_regular

logger = logging.getLogger(__name__)

SOON = timedelta(days=14)
"""Before its end a certificate is warned of: time enough to renew it."""


def check(settings: DashboardConfig) -> None:
    """Raises ConfigError for a certificate or a key that cannot be served."""
    for name, path in (("certificate", settings.certificate), ("key", settings.key)):
        try:
            if path:
                open_regular(path).close()
        except OSError as error:
            raise ConfigError(f"[dashboard] {name}: {path}: cannot be read: {error.strerror}") from error
    if not settings.certificate:
        return
    try:
        # A key with a passphrase would have OpenSSL ask for it on the terminal.
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            settings.certificate, settings.key, password=lambda: ""
        )
    except (ssl.SSLError, ValueError) as error:
        what = "is no PEM certificate with its key" if "KEY_VALUES" not in str(error) else "has another key"
        raise ConfigError(
            f"[dashboard] certificate: {settings.certificate} with key {settings.key}: {what}"
        ) from error


def log_warnings(settings: DashboardConfig) -> None:
    """Log what browsers, or the owner of the key, will not like. The files have passed `check`."""
    if not settings.certificate:
        return
    ends = load_pem_x509_certificate(Path(settings.certificate).read_bytes()).not_valid_after_utc
    left = ends - datetime.now(UTC)
    if left < SOON:
        verb = "expired" if left < timedelta(0) else "expires"
        logger.warning(
            "[dashboard] certificate: %s %s on %s. Renew it, then: systemctl reload labmon-dashboard",
            *(settings.certificate, verb, f"{ends:%Y-%m-%d}"),
        )
    key = Path(settings.key or settings.certificate)
    if key.stat().st_mode & 0o007:
        logger.warning("[dashboard] key: %s can be read by every account. Run: chmod o= %s", key, key)
