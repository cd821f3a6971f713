"""Whom a name means: a machine of the inventory, a host of ~/.ssh/config, or what the resolver knows."""

import re
import socket
from functools import cached_property
from ipaddress import ip_address

import msgspec

from labmon.collect.access import USUAL_PORT, is_direct, load_ssh_config
from labmon.collect.ssh_config import SshConfig
from labmon.config import Collect
from labmon.errors import UsageError
from labmon.fleet import Fleet, Machine, machines_called

_NAME = re.compile(r"\w[\w-]{0,62}(\.\w[\w-]{0,62})*\.?")


class Lookup:
    """Finds machines as people call them. The resolver is asked once for each name."""

    def __init__(self, settings: Collect) -> None:
        self._settings = settings
        self._addresses: dict[str, str] = {}

    def machine(self, text: str, fleet: Fleet) -> Machine:
        """The machine at an address, or of a name; in the inventory or not.

        Behind a bastion the name stays one, for the bastion to look up. Raises UsageError where nobody knows
        it, and ConfigError for an ssh_config that cannot be used.
        """
        known = {one.address: one for one in fleet.machines}
        if address := ip(text):
            return known.get(address) or Machine(address=address)
        if called := machines_called(text, fleet.machines):
            if len(called) > 1:
                raise UsageError(f"{len(called)} machines are called {text}: say which by its address")
            return called[0]
        if not _NAME.fullmatch(text):
            raise UsageError(f"{text!r} is neither an address nor a name")
        options = self._ssh_config.options(text, user=self._settings.user)
        name = options.hostname or text
        address = ip(name) or (self._resolved(name) if is_direct(self._settings, options) else name)
        # The name is what the ssh_config knows it by. Two of its hosts may be one address with two ports.
        port = options.port if self._settings.port == USUAL_PORT else None
        found = known.get(address) or Machine(address=address, port=port)
        return msgspec.structs.replace(found, name=text)

    @cached_property
    def _ssh_config(self) -> SshConfig:
        return load_ssh_config(self._settings)

    def _resolved(self, name: str) -> str:
        if name not in self._addresses:
            try:
                found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError) as error:
                said = getattr(error, "strerror", None) or str(error)
                raise UsageError(
                    f"there is no machine {name}: neither in the inventory nor in the ssh_config, "
                    f"and the resolver says: {said}"
                ) from error
            self._addresses[name] = str(found[0][4][0])
        return self._addresses[name]


def ip(text: str) -> str | None:
    """An address as the store writes it; None for a name."""
    try:
        return str(ip_address(text))
    except ValueError:
        return None
