"""[state]"""

import os
from pathlib import Path
from typing import Annotated

import platformdirs

from labmon.config.home import home_folder
from labmon.config.tables.fields import Table, comment
from labmon.trust import check_folder

ROOT_FOLDER = Path("/var/lib/labmon")


class StateConfig(Table, frozen=True, kw_only=True):
    """The files that labmon itself keeps on this machine."""

    dir: Annotated[
        str,
        comment(
            "The folder of the embedded database, the spool and the pinned host keys. Empty: "
            "~/.local/state/labmon; for root always /var/lib/labmon, whatever HOME and XDG_STATE_HOME say."
        ),
    ] = ""

    @property
    def path(self) -> Path:
        """The folder to keep files in, not necessarily there yet: all that opens something in it asks here.

        Raises ConfigError for an account without a home, and PermissionNeeded where another account could
        change these files.
        """
        folder = self.folder
        check_folder(folder)
        return folder

    @property
    def folder(self) -> Path:
        """The same, its permissions unchecked. Raises ConfigError for an account without a home."""
        if self.dir:
            return Path(self.dir).expanduser().absolute()
        if os.geteuid() == 0:
            return ROOT_FOLDER
        return home_folder(platformdirs.user_state_path)

    @property
    def reason(self) -> str:
        """Why it is that folder; empty where the key names it."""
        if self.dir:
            return ""
        return "root's, whatever HOME says" if os.geteuid() == 0 else "below the home folder"
