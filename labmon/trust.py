"""Whose files labmon believes: its own account's and root's, where no other account may write."""

import grp
import os
import pwd
import stat
from pathlib import Path

from labmon.errors import ConfigError, PermissionNeeded


def check_owned(path: Path) -> None:
    """Raise ConfigError, naming file and owner, unless only root and this account can have written `path`.

    It is checked together with the folder it was named in and the one that a symbolic link leads to, since an
    account that may write there can put another file in its place; a sticky folder such as /tmp is no
    exception, as anybody can be first to make it. Nobody can write to a file system mounted read-only (a
    ConfigMap of Kubernetes, whose folder has mode 0777).

    Where the folders above are closed, as root's home is after `runuser -u`, a file of the current folder can
    be read but not checked: ConfigError. What is not there is not checked: other OSErrors are the caller's.
    """
    try:
        real = path.resolve()
        for place in dict.fromkeys([path.absolute().parent, real.parent, real]):
            if fault := _fault(place):
                subject = f"{path}" if place in (path, real) else f"{path}: its folder {place}"
                raise ConfigError(f"{subject} {fault}")
    except PermissionError as error:
        raise ConfigError(
            f"{path}: whose it is cannot be checked, since this account may not enter the folders above. Run "
            "labmon in another folder (cd /), or name a configuration file with --config"
        ) from error


def check_place(path: Path) -> None:
    """Raise ConfigError as `check_owned` would for a file that is to be made there.

    Of folders that are not there yet, the one in which they would be made is checked; that may be a sticky
    one, such as /tmp. Raises OSError.
    """
    parents = path.resolve().parents
    there = next(one for one in parents if one.exists())
    if there != parents[0] and there.stat().st_mode & stat.S_ISVTX:
        return
    if fault := _fault(there):
        raise ConfigError(f"{path}: its folder {there} {fault}")


def check_folder(folder: Path) -> None:
    """Raise PermissionNeeded, naming folder and owner, where another account could change labmon's files.

    For the state folder. The one that it lies in is checked too, since who may write there can put another in
    its place; not so in a sticky one such as /tmp. Of a folder that is not there yet, only the place where it
    is to be made is checked. A folder that this account may not even look at is not: opening it says so.
    """
    try:
        for path in dict.fromkeys((folder.absolute(), folder.resolve())):
            there = [path] if path.exists() else []
            for place in (*there, next(one for one in path.parents if one.exists())):
                status = place.stat()
                if status.st_uid not in (0, os.geteuid()):
                    owner = _account(status.st_uid)
                    raise PermissionNeeded(
                        f"{place} belongs to {owner}, who could change labmon's files. Run labmon as that "
                        f"account (runuser -u {owner} -- labmon ...), or choose another [state] dir"
                    )
                if (place == path or not status.st_mode & stat.S_ISVTX) and (who := _writers(place, status)):
                    raise PermissionNeeded(
                        f"{place} may be written by {who}, who could change labmon's files. "
                        f"Run: chmod go-w {place}, or choose another [state] dir"
                    )
    except OSError:
        return


def _fault(place: Path) -> str:
    """What is wrong with a file or folder, and the way out. Empty: nothing."""
    status = place.stat()
    if status.st_uid not in (0, os.geteuid()):
        return (
            f"belongs to {_account(status.st_uid)}, and labmon trusts only files of root and of the account "
            f"that runs it. Copy the file to a folder of your own, or: chown {_account(os.geteuid())} {place}"
        )
    if others := _writers(place, status):
        mend = "Move the file to a folder of your own" if status.st_mode & stat.S_ISVTX else "Mend it with"
        command = "" if status.st_mode & stat.S_ISVTX else f": chmod go-w {place}"
        return f"(owner {_account(status.st_uid)}) may be written by {others}. {mend}{command}"
    return ""


def _writers(place: Path, status: os.stat_result) -> str:
    """Who else than the owner may write there. Empty: nobody."""
    if os.statvfs(place).f_flag & os.ST_RDONLY:
        return ""
    if status.st_mode & stat.S_IWOTH:
        return "everybody"
    shared = status.st_mode & stat.S_IWGRP and not _is_private_group(status.st_gid, status.st_uid)
    return f"the group {_group(status.st_gid)}" if shared else ""


def _is_private_group(gid: int, uid: int) -> bool:
    """True for the group that some systems make for each account: of the same name, with no other member."""
    if uid == 0:
        return False  # such systems give it no umask that lets the group write
    try:
        group, account = grp.getgrgid(gid), pwd.getpwuid(uid)
    except KeyError:
        return False
    return (
        account.pw_gid == gid and group.gr_name == account.pw_name and set(group.gr_mem) <= {account.pw_name}
    )


def _account(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
