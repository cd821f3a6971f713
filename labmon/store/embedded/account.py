"""The account that the server runs as, where it cannot be our own: PostgreSQL refuses to run as root."""

import logging
import os
import pwd
import subprocess
from typing import Any

from labmon.errors import PermissionNeeded

logger = logging.getLogger(__name__)

Account = pwd.struct_passwd | None
"""None: our own."""

NAMES = ("postgres", "labmon")
"""The first that there is; the last is made where there is none."""


def find() -> Account:
    """The server's account. Raises PermissionNeeded where there is none and none can be made."""
    if os.geteuid() != 0:
        return None
    for name in NAMES:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    command = ["useradd", "--system", "--shell", "/usr/sbin/nologin", NAMES[-1]]
    try:
        made = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL).returncode == 0
    except OSError:  # a system without useradd
        made = False
    if not made:
        raise PermissionNeeded(
            "PostgreSQL refuses to run as root and no account could be made for it. "
            "Run labmon as another user, or set [database] url"
        )
    logger.warning("made the system account %s: the embedded PostgreSQL cannot run as root", NAMES[-1])
    return pwd.getpwnam(NAMES[-1])


def running_as(account: Account) -> dict[str, Any]:
    """Arguments of subprocess.run: that account, and nothing of the caller's folder and environment."""
    identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}
    return {"cwd": "/", "env": {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C"}} | identity


def name(account: Account) -> str:
    """For messages."""
    uid = account.pw_uid if account else os.geteuid()
    return name_of(uid)


def name_of(uid: int) -> str:
    """The account's name, or its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"account {uid}"
