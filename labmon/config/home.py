"""Accounts without a home folder: a user number in a container (docker -u 4242, OpenShift)."""

import os
from collections.abc import Callable
from pathlib import Path

from labmon.errors import ConfigError

NO_HOME = "/nonexistent"
"""The home that Debian gives to accounts that have none."""


def set_missing_home() -> None:
    """Set HOME to a folder that is not there, where nothing says what `~` is.

    Otherwise `Path.expanduser` and libraries raise RuntimeError, and `os.path.expanduser` leaves the `~`,
    which then is the name of a folder. Files below a home that is not there are simply absent.
    """
    if os.path.expanduser("~") == "~":
        os.environ["HOME"] = NO_HOME


def home_folder(place: Callable[[str], Path]) -> Path:
    """labmon's folder below the home folder, by a function of platformdirs. Raises ConfigError if none."""
    try:
        folder = place("labmon")
    except RuntimeError:
        folder = Path(NO_HOME)
    if folder.is_relative_to(NO_HOME):
        raise ConfigError("this account has no home folder: set HOME, or LABMON_STATE_DIR and LABMON_CONFIG")
    return folder
