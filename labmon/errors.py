"""Everything labmon raises on purpose, by what the caller can do about it.

    LabmonError                 1   a bug, or an error that was not foreseen
    ├─ UsageError               2   a wrong argument
    │  └─ ConfigError           2   the same, in a file or an environment variable
    ├─ PermissionNeeded         3   the text says what to grant
    ├─ AlreadyRunning           7   the text names the process: try again later
    ├─ Undecodable                  a message that cannot be read: to the dead letters, with the reason
    ├─ BrokerError              4
    │  ├─ BrokerUnavailable         try again later
    │  └─ BrokerRefused             credentials, arguments: trying again will not help
    │     └─ BrokerForbidden     3  the account lacks a permission: says what to grant
    ├─ SpoolError               4   neither the broker nor the disk took a message (`sinks.spool`)
    └─ StoreError               5
       ├─ StoreUnavailable          try again later
       ├─ StoreRefused              credentials, arguments: trying again will not help
       │  └─ StoreForbidden      3  the role lacks a permission: says what to grant
       └─ SchemaOutOfDate           the text says: labmon db migrate

A host that cannot be measured is no error but a result (`labmon.collect.once`).
Every text names the thing and the next step, fits one line, and holds no secret.
"""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of labmon; `queue-depth` uses 0, 1, 2 as monitoring plugins do."""

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
    """The root. Its text is the line that the user sees."""

    exit_code = Exit.BUG


class UsageError(LabmonError):
    """An argument that cannot mean anything."""

    exit_code = Exit.USAGE


class ConfigError(UsageError):
    """A configuration that cannot mean anything. Each fault names the file or variable, table and key.

    The text is the first fault, and how many more there are.
    """

    def __init__(self, *faults: str) -> None:
        more = f" ({len(faults) - 1} more: labmon config check)" if len(faults) > 1 else ""
        super().__init__(f"{faults[0] if faults else ''}{more}")
        self.faults = faults


class PermissionNeeded(LabmonError):
    """The operating system, or a server, does not permit it. The text says what to grant.

    Output that the system does not take (a full disk, /dev/full) has the same exit code.
    """

    exit_code = Exit.PERMISSION


class StateDamaged(LabmonError):
    """A file of the state folder makes no sense, or is of a newer labmon. The text says what to do."""

    exit_code = Exit.PERMISSION


class AlreadyRunning(LabmonError):
    """Another process does the same work, and two would disturb each other."""

    exit_code = Exit.BUSY


class Undecodable(LabmonError):
    """These bytes are not the message they should be. The text names the field."""


class BrokerError(LabmonError):
    """The broker did not do as asked."""

    exit_code = Exit.BROKER


class BrokerUnavailable(BrokerError):
    """The broker is away, restarting or pushing back. The same call may work later."""


class BrokerRefused(BrokerError):
    """The broker understood and refused."""


class BrokerForbidden(BrokerRefused):
    """The account may not do this. Names what to grant."""

    exit_code = Exit.PERMISSION


class StoreError(LabmonError):
    """The database did not do as asked."""

    exit_code = Exit.STORE


class StoreUnavailable(StoreError):
    """The database is away or restarting. The same call may work later."""


class StoreRefused(StoreError):
    """The database understood and refused: password, name, permission."""


class StoreForbidden(StoreRefused):
    """The role may not do this. Names what to grant."""

    exit_code = Exit.PERMISSION


class SchemaOutOfDate(StoreError):
    """The database has an older, or a newer, schema than this labmon."""
