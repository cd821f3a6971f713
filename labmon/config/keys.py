"""Every key of the file, as the tables declare it."""

from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

import msgspec
import tomli_w
from msgspec import Meta

from labmon.config.tables import Config
from labmon.config.units import Bytes, Seconds, Workers
from labmon.masking import MASK, mask_path, mask_url

SEED_NAMES = {
    "QUEUE_ENABLED": "queue.enabled",
    "QUEUE_TYPE": "queue.type",
    "QUEUE_HOST": "queue.host",
    "QUEUE_PORT": "queue.port",
    "QUEUE_USER": "queue.user",
    "QUEUE_PASSWORD": "queue.password",
    "DISCOVERY_QUEUE": "queue.discovery_queue",
    "METRICS_QUEUE": "queue.metrics_queue",
    "ALERT_QUEUE": "queue.alert_queue",
}
"""Environment names of the scripts that labmon replaces, which work as they did. Where both are set, the
`LABMON_<TABLE>_<KEY>` that every key has wins."""


@dataclass(frozen=True)
class Key:
    """One key of the file."""

    table: str
    name: str
    type: Any
    default: Any
    comment: str
    secret: bool
    least: float | None
    example: str

    @property
    def path(self) -> str:
        """Its name in `KEYS`, in the flags of a command and in `config show`."""
        return f"{self.table}.{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"LABMON_{self.table}_{self.name}".upper()

    def shown(self, value: Any) -> str:
        """The value as the file would write it, with secrets masked."""
        if self.secret and isinstance(value, list):
            return ", ".join(f"{one.name} ({MASK})" for one in value) or "[]"
        if self.secret and value:
            value = mask_path(str(value)) if self.table == "heartbeat" else mask_url(str(value))
        return to_toml(value)


def to_toml(value: Any) -> str:
    """A value as the file writes it."""
    if isinstance(value, list):
        return "[" + ", ".join(to_toml(item) for item in value) + "]"
    if isinstance(value, Seconds | Bytes | Workers):
        value = str(value)
    return tomli_w.dumps({"x": value}).removeprefix("x = ").strip()


def _keys() -> dict[str, Key]:
    keys = {}
    for table in msgspec.structs.fields(Config):
        hints = get_type_hints(table.type, include_extras=True)
        for info in msgspec.structs.fields(table.type):
            meta = next(m for m in get_args(hints[info.name])[::-1] if isinstance(m, Meta) and m.description)
            extra = meta.extra or {}
            key = Key(
                table.name,
                info.name,
                hints[info.name],
                getattr(table.default, info.name),
                meta.description or "",
                bool(extra.get("secret")),
                extra.get("least"),
                extra.get("example", ""),
            )
            keys[key.path] = key
    return keys


KEYS: dict[str, Key] = _keys()
"""Every key by its path, such as "queue.host", in the order of the sample file."""


def names_of(table: str) -> list[str]:
    """The names of a table's keys."""
    return [key.name for key in KEYS.values() if key.table == table]
