"""Everything labmon raises on purpose, by what the caller can do about it.

    LabmonError                 1   a bug, or something nobody foresaw
    ├─ UsageError               2   a wrong argument: say it again, right
    │  └─ ConfigError           2   the same, in a file or an environment variable
    ├─ PermissionNeeded         3   says what to grant
    ├─ AlreadyRunning           7   says who: try again later
    ├─ Undecodable                  a message nobody can read: to the dead letters, with the reason
    ├─ BrokerError              4
    │  ├─ BrokerUnavailable         try again later
    │  └─ BrokerRefused             credentials, arguments: trying again will not help
    ├─ SpoolError               4   neither the broker nor the disk took a message (`labmon.spool_file`)
    └─ StoreError               5
       ├─ StoreUnavailable          try again later
       ├─ StoreRefused              credentials, arguments: trying again will not help
       └─ SchemaOutOfDate           says: labmon db migrate

A host that cannot be measured is no error but a result (`labmon.collect.runner`).
Every text names the thing and the next step, fits one line, and holds no secret.
"""

from enum import IntEnum


class Exit(IntEnum):
    """What a labmon process ends with; `queue-depth` uses 0, 1, 2 as monitoring plugins do."""

    OK = 0
    BUG = 1
    USAGE = 2
    PERMISSION = 3
    BROKER = 4
    STORE = 5
    SOME_FAILED = 6
    BUSY = 7
    INTERRUPTED = 130


class LabmonError(Exception):
    """The root. Its text is the one line that the user sees."""

    exit_code = Exit.BUG


class UsageError(LabmonError):
    """An argument that cannot mean anything."""

    exit_code = Exit.USAGE


class ConfigError(UsageError):
    """A configuration that cannot mean anything. Names the file or variable, the table and the key."""


class PermissionNeeded(LabmonError):
    """The operating system said no."""

    exit_code = Exit.PERMISSION


class AlreadyRunning(LabmonError):
    """Another process is at the same work, and two would get in each other's way."""

    exit_code = Exit.BUSY


class Undecodable(LabmonError):
    """These bytes are not the message they should be. The text names the field."""


class BrokerError(LabmonError):
    """The broker did not do as asked."""

    exit_code = Exit.BROKER


class BrokerUnavailable(BrokerError):
    """The broker is away, restarting or pushing back. The same call may work later."""


class BrokerRefused(BrokerError):
    """The broker understood and said no."""


class StoreError(LabmonError):
    """The database did not do as asked."""

    exit_code = Exit.STORE


class StoreUnavailable(StoreError):
    """The database is away or restarting. The same call may work later."""


class StoreRefused(StoreError):
    """The database understood and said no: password, name, permission."""


class SchemaOutOfDate(StoreError):
    """The database has an older, or a newer, schema than this labmon."""
