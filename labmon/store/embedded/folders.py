"""The folders and locks of the embedded server: their owners and permissions.

Root gives some of them to the server's account and runs programs that lie in them. So nothing is believed
that another account could have put there, no symbolic link is followed at the end of a path, and what is
given away is the open folder that was looked at, not whatever bears its name a moment later.
"""

import grp
import os
import pwd
import stat
from pathlib import Path

from labmon.errors import PermissionNeeded
from labmon.store.embedded import account as accounts
from labmon.store.embedded.account import Account


def make_home(home: Path) -> None:
    """Make the server's folder, for others to pass through, and check that it is ours alone.

    Raises PermissionNeeded.
    """
    try:
        there = next(place for place in (home, *home.absolute().parents) if place.is_dir())
        if os.geteuid() == 0:  # not even an empty folder is made where somebody else's link leads
            check(there)
        make(home, 0o711)
        check(home)
    except OSError as error:
        raise not_ours(home, error) from error


def make(folder: Path, mode: int) -> None:
    """Make it and those above it. The mode is meant as it is, whatever the umask.

    Raises PermissionNeeded.
    """
    try:
        if folder.is_dir():
            return
        if not folder.parent.is_dir():
            make(folder.parent, 0o711)
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:  # another process was faster, or it is no folder: _open says so
            pass
        handle = _open(folder)
        try:
            os.fchmod(handle, mode)
        finally:
            os.close(handle)
    except OSError as error:
        raise PermissionNeeded(
            f"{folder}: cannot be made: {error.strerror}. Choose another place with [state] dir"
        ) from error


def check(folder: Path) -> None:
    """Raise PermissionNeeded where another account could put files of its own in the folder, or OSError.

    It and the one it lies in must belong to us or to root. For root, which has more to lose, all those above
    must, too.
    """
    for path in dict.fromkeys((folder.absolute(), folder.resolve())):
        above = path.parents if os.geteuid() == 0 else path.parents[:1]
        for place in (path, *above):
            _check_one(place)


def _check_one(place: Path) -> None:
    state = place.lstat()
    if not _is_ours(state):
        raise PermissionNeeded(
            f"{place} belongs to {accounts.name_of(state.st_uid)}, and {accounts.name(None)} keeps no "
            "database there. Run labmon as that account, or choose another [state] dir"
        )
    if not stat.S_ISLNK(state.st_mode) and _others_may_write(state):
        raise PermissionNeeded(
            f"{place}: other accounts may write there and could replace labmon's files. "
            f"Run: chmod go-w {place}, or choose another [state] dir"
        )


def is_only_ours(tree: Path) -> bool:
    """True when all of a folder belongs to us or to root, and no other account may write in it."""
    paths = [Path(place, name) for place, folders, files in os.walk(tree) for name in folders + files]
    for path in (tree, *paths):
        state = path.lstat()
        if not _is_ours(state) or (not stat.S_ISLNK(state.st_mode) and state.st_mode & 0o022):
            return False
    return not tree.is_symlink()


def _is_ours(state: os.stat_result) -> bool:
    return state.st_uid in (0, os.geteuid())


def _others_may_write(state: os.stat_result) -> bool:
    if state.st_mode & stat.S_ISVTX:  # there, as in /tmp, no account can replace a file of another
        return False
    if state.st_mode & stat.S_IWOTH:
        return True
    return bool(state.st_mode & stat.S_IWGRP) and not _is_private_group(state.st_gid, state.st_uid)


def _is_private_group(gid: int, owner: int) -> bool:
    """True for a group of the owner's alone, as many systems give to each account, with a umask of 002."""
    try:
        members = set(grp.getgrgid(gid).gr_mem)
    except KeyError:
        members = set()
    members |= {entry.pw_name for entry in pwd.getpwall() if entry.pw_gid == gid}
    return members <= {accounts.name_of(owner)}


def give(folder: Path, account: Account) -> None:
    """Make it where it is not, and give it to the server's account, for it alone to enter.

    Raises PermissionNeeded where it belongs to anybody but us and that account, or is no folder.
    """
    make(folder, 0o700)
    try:
        handle = _open(folder)
        try:
            owner = os.fstat(handle).st_uid
            if owner not in (os.geteuid(), account.pw_uid if account else -1):
                raise PermissionNeeded(
                    f"{folder} belongs to {accounts.name_of(owner)}. Remove it, or choose another [state] dir"
                )
            os.fchmod(handle, 0o700)
            if account:
                os.fchown(handle, account.pw_uid, account.pw_gid)
        finally:
            os.close(handle)
    except OSError as error:
        said = " is a symbolic link" if folder.is_symlink() else f": {error.strerror}"
        raise PermissionNeeded(f"{folder}{said}. Remove it, or choose another [state] dir") from error


def _open(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def open_lock(path: Path) -> int:
    """A lock file that no other account can open, since it could then hold it for ever.

    Raises PermissionNeeded.
    """
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        state = os.fstat(lock)
        if not stat.S_ISREG(state.st_mode) or state.st_uid != os.geteuid() or state.st_nlink != 1:
            os.close(lock)
            raise PermissionNeeded(f"{path} is no file that {accounts.name(None)} made. Remove it")
        os.fchmod(lock, 0o600)
    except OSError as error:
        if path.is_symlink():
            raise PermissionNeeded(f"{path} is a symbolic link and no file of labmon's. Remove it") from error
        raise not_ours(path, error) from error
    return lock


def read(path: Path) -> str:
    """The beginning of a small file of the server's, whose account may have put anything there.

    Raises OSError.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return os.read(handle, 4096).decode(errors="replace")
    finally:
        os.close(handle)


def not_ours(path: Path, error: OSError) -> PermissionNeeded:
    """What to raise when something in a folder may not be opened."""
    try:
        owner = path.parent.owner()
    except (OSError, KeyError):
        owner = "somebody else"
    return PermissionNeeded(
        f"{path}: {error.strerror}. The folder belongs to {owner}: run labmon as that account, "
        "or choose another [state] dir"
    )
