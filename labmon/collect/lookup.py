"""Which machine a name means: of the inventory, of ~/.ssh/config, or what the resolver knows."""

import re
import socket
from functools import cached_property
from ipaddress import ip_address

import msgspec

from labmon.collect.ssh.config import SshConfig
from labmon.collect.ssh.connector import USUAL_PORT, is_direct, load_ssh_config
from labmon.config.tables import CollectConfig
from labmon.errors import UsageError
from labmon.fleet import Fleet, Machine, machines_called

_NAME = re.compile(r"\w[\w-]{0,62}(\.\w[\w-]{0,62})*\.?")


class Lookup:
    """Finds machines as people call them. The resolver is asked once for each name."""

    def __init__(self, settings: CollectConfig) -> None:
        self._settings = settings
        self._addresses: dict[str, str] = {}

    def machine(self, text: str, fleet: Fleet) -> Machine:
        """The machine at an address, or of a name; in the inventory or not.

        Behind a bastion the name stays one, for the bastion to look up. Raises UsageError for a name
        that is unknown, and ConfigError for an ssh_config that cannot be used.
        """
        known = {one.address: one for one in fleet.machines}
        if address := ip(text):
            return known.get(address) or Machine(address=address)
        if called := machines_called(text, fleet.machines):
            if len(called) > 1:
                raise UsageError(f"{len(called)} machines are called {text}: say which by its address")
            return called[0]
        if not _NAME.fullmatch(text):
            raise UsageError(_mistaken(text))
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
                reason = getattr(error, "strerror", None) or str(error)
                raise UsageError(
                    f"there is no machine {name}: neither in the inventory nor in the ssh_config, "
                    f"and the resolver says: {reason}"
                ) from error
            self._addresses[name] = str(found[0][4][0])
        return self._addresses[name]


def _mistaken(text: str) -> str:
    """What is wrong with a machine that is no address and no name, and how it is written."""
    found = _WITH_MORE.fullmatch(text)
    host = found and (ip(found["address"] or "") or (found["name"] or ""))
    if not found or not host or not (ip(host) or _NAME.fullmatch(host)):
        return f"{text!r} is neither an address nor a name, such as 10.30.5.7 or pc-17"
    more = [f"--user {found['user']}"] if found["user"] else []
    more += [f"--port {found['port']}"] if found["port"] else []
    brackets = "" if found["address"] is None else ", without brackets"
    return f"{text!r} is neither an address nor a name. Write: {' '.join(['--host', host, *more])}{brackets}"


_WITH_MORE = re.compile(
    r"(ssh://)?((?P<user>[\w.-]+)@)?(\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[\w.-]+))(:(?P<port>\d{1,5}))?/?"
)
"""As scp, ssh and URLs write it."""


def ip(text: str) -> str | None:
    """An address as the store writes it; None for a name."""
    try:
        return str(ip_address(text))
    except ValueError:
        return None
