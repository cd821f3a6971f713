"""A private OpenSSH server on loopback for the tests: the real one, with keys and accounts of its own."""

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.support.servers import NotInstalled, Server

SSHD = "/usr/sbin/sshd"  # it refuses to start by a relative name


class Sshd(Server):
    """sshd with one host key, one client key (`key_file`) that it lets in, and the options given.

    `accounts` maps names to login shells; they exist for this server alone, all with the password
    `PASSWORD`, in a mount namespace of its own. That needs root; without it, the account running the tests.
    """

    PASSWORD = "correct horse"
    # SHA-512 crypt of PASSWORD with the salt "labmon" (openssl passwd -6 -salt labmon).
    PASSWORD_HASH = (
        "$6$labmon$fu95vbyJFOpR8PnUGgMspinntFVTjdXxsH9PXJJcCNxu.mEpPLftxX8Z3lzRWFG7jxiwzEMedr/zOIpZPRJtK1"
    )

    def __init__(
        self,
        addresses: Sequence[str] = ("127.0.0.1",),
        *,
        options: Sequence[str] = (),
        accounts: dict[str, str] | None = None,
    ) -> None:
        if not os.access(SSHD, os.X_OK):
            raise NotInstalled("sshd is not installed: apt-get install openssh-server")
        super().__init__()
        self.folder.chmod(0o755)  # the accounts read authorized_keys
        self.addresses = tuple(addresses)
        self.options = list(options)
        self.accounts = accounts or {}
        self.user = next(iter(self.accounts), getpass.getuser())
        self.host_key = self.keygen("host_key")
        self.key_file = self.keygen("client_key")
        self.authorized = self.folder / "authorized_keys"
        self.authorize()
        self._write_accounts()

    def keygen(self, name: str, kind: str = "ed25519") -> Path:
        """A new private key without a passphrase; its public half stands beside it as NAME.pub."""
        path = self.folder / name
        path.unlink(missing_ok=True)
        command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "labmon test", "-f", path]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        return path

    def public(self, path: Path) -> str:
        return path.with_name(path.name + ".pub").read_text().strip()

    def authorize(self, restrictions: str = "") -> None:
        """Let the client key in, with what goes before it in authorized_keys, such as a forced command."""
        self.authorized.write_text(f"{restrictions} {self.public(self.key_file)}\n".lstrip())
        self.authorized.chmod(0o644)

    def command(self) -> list[str]:
        config = self.folder / "sshd_config"
        lines = [
            f"Port {self.port}",
            *(f"ListenAddress {address}" for address in self.addresses),
            f"HostKey {self.host_key}",
            f"AuthorizedKeysFile {self.authorized}",
            f"PidFile {self.folder / 'pid'}",
            "StrictModes no",
            "UsePAM no",
            "PermitRootLogin yes",
            "PrintMotd no",
            "MaxStartups 1000:1:2000",
            *self.options,
        ]
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        config.write_text("\n".join(lines) + "\n")
        # OpenSSH 9.8 and later shut out an address for a while after failed logins: that is all of ours.
        config.write_text(config.read_text() + "PerSourcePenalties no\n")
        if subprocess.run([SSHD, "-t", "-f", config], capture_output=True).returncode != 0:
            config.write_text("\n".join(lines) + "\n")
        sshd = [SSHD, "-D", "-e", "-f", str(config)]
        if not self.accounts:
            return sshd
        binds = " && ".join(
            f"mount --bind {self.folder / name} /etc/{name}" for name in ("passwd", "shadow", "group")
        )
        return ["unshare", "--mount", "sh", "-c", f'{binds} && exec "$@"', "sh", *sshd]

    def answers(self) -> bool:
        for address in self.addresses:
            try:
                with socket.create_connection((address, self.port), timeout=2) as connection:
                    if not connection.recv(4).startswith(b"SSH"):
                        return False
            except OSError:
                return False
        return True

    def sessions(self) -> list[psutil.Process]:
        """The processes of those who are logged in."""
        return psutil.Process(self.pid).children(recursive=True)

    def stop(self) -> None:
        left = self.sessions() if self._process is not None and psutil.pid_exists(self.pid) else []
        super().stop()  # it leaves its sessions to themselves
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                pass

    def _write_accounts(self) -> None:
        if not self.accounts:
            return
        files = {name: Path("/etc", name).read_text() for name in ("passwd", "shadow", "group")}
        for number, (name, shell) in enumerate(self.accounts.items(), 61000):
            home = self.folder / "home" / name
            home.mkdir(parents=True)
            files["passwd"] += f"{name}:x:{number}:{number}::{home}:{shell}\n"
            files["group"] += f"{name}:x:{number}:\n"
            files["shadow"] += f"{name}:{self.PASSWORD_HASH}:19000:0:99999:7:::\n"
            shutil.chown(home, number, number)
        for name, text in files.items():
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o640 if name == "shadow" else 0o644)


def can_make_accounts() -> bool:
    """True when this process may give a server accounts of its own."""
    return (
        os.geteuid() == 0
        and subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0
    )
