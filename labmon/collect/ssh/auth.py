"""Logging in: each key, then the password, until the server is content."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

import paramiko  # type: ignore[import-untyped]

from labmon.collect.deadline import Deadline
from labmon.collect.failures import HostFailed, one_line
from labmon.collect.ssh.credentials import Key, Login

_PASSWORD_PROMPT = re.compile(
    # "Password: ", "(bob@pc1) Password:", "bob@pc1's password:", "Password for bob:", in some languages
    r"(?:\([^()]*\) ?|\S+'s )?"
    r"(?:password|passwort|kennwort|mot de passe|contraseña|senha|wachtwoord|hasło|heslo|lösenord|парол[ья]|"
    r"密码|パスワード)"
    r"(?: for \S+)?\s*[:：]?\s*",
    re.IGNORECASE,
)


def log_in(transport: paramiko.Transport, login: Login, deadline: Deadline, *, is_known: bool) -> None:
    """Try what there is, in its order. Raises `HostFailed` when the server lets in with none of it.

    The password goes only where `is_known`, the server's key was known before this connection, unless the
    login allows more; and only to the method `password`, or to a single question that asks for a password.
    """
    _Attempts(transport, login, deadline, is_known or login.password_to_any).run()


class _Attempts:
    """One login. `refused` says what was tried in vain, `allowed` what the server still takes."""

    def __init__(
        self, transport: paramiko.Transport, login: Login, deadline: Deadline, may_send_password: bool
    ) -> None:
        self._transport = transport
        self._login = login
        self._deadline = deadline
        self._may_send_password = may_send_password
        self._refused: list[str] = []
        self._notes = [f"not used: {one}" for one in login.unusable]
        self._allowed: list[str] | None = None

    def run(self) -> None:
        login, transport = self._login, self._transport
        only_rsa = bool(login.keys)
        for name, key in login.keys:
            if self._takes("publickey") and self._agrees(name, key):
                if self._try(f"key {name}", partial(transport.auth_publickey, login.user, key)):
                    return
                only_rsa &= key.get_name() == "ssh-rsa"
        if login.password is not None and not self._may_send_password:
            self._notes.insert(0, self._why_no_password())
        elif login.password is not None:
            # What the server takes is asked before the password is sent in a way that it does not know.
            if self._allowed is None and self._try("", partial(transport.auth_none, login.user)):
                return
            if self._takes("password") and self._try(
                "the password",
                lambda: transport.auth_password(login.user, login.password, fallback=False),
            ):
                return
            if self._allowed and "password" not in self._allowed and self._takes("keyboard-interactive"):
                if self._try("the password", lambda: transport.auth_interactive(login.user, self._answer)):
                    return
        if only_rsa and self._refused:
            self._notes.append(
                "where PubkeyAcceptedAlgorithms allows only ssh-rsa (SHA-1), any RSA key is refused"
            )
        self._refuse(f"and takes only: {', '.join(self._allowed)}" if self._allowed else "")

    def _takes(self, method: str) -> bool:
        return self._allowed is None or method in self._allowed

    def _try(self, what: str, authenticate: Callable[[], list[str]]) -> bool:
        """True when that was enough."""
        transport = self._transport
        transport.auth_timeout = self._deadline.left
        try:
            self._allowed = authenticate() or None
        except paramiko.BadAuthenticationType as error:
            self._allowed = error.allowed_types
        except paramiko.AuthenticationException as error:
            if self._deadline.passed:
                raise TimeoutError from None
            if "agree on a pubkey algorithm" in str(error):
                self._notes.append(_SHA1_ONLY.format(what))
                self._refuse("")
            if not transport.is_active():
                if not self._refused:
                    raise EOFError from None
                self._refuse("and hung up: too many keys? Name the right one in [collect] key_files")
            self._refused += [what] if what else []
        if transport.is_authenticated():
            return True
        if not transport.is_active():
            raise EOFError
        return False

    def _agrees(self, name: str, key: Key) -> bool:
        """False for an RSA key where the server takes RSA with SHA-1 only (RFC 8308, server-sig-algs)."""
        theirs = self._transport.server_extensions.get("server-sig-algs", b"").decode(errors="replace")
        if not theirs or key.get_name() != "ssh-rsa" or "rsa-sha2-" in theirs or "ssh-rsa" not in theirs:
            return True
        self._notes.append(_SHA1_ONLY.format(f"key {name}"))
        return False

    def _answer(self, title: str, instructions: str, prompts: Sequence[tuple[str, bool]]) -> list[str]:
        """The answer to a question of keyboard-interactive. The connection ends at any other question than
        for the password: to answer a prompt for a code, or for a new password, would give it away."""
        if not prompts:
            return []
        (prompt, echo), *more = prompts
        if more or echo or not _PASSWORD_PROMPT.fullmatch(prompt.strip()) or self._login.password is None:
            asked = " and ".join(one_line(text, 60) or "nothing" for text, _ in prompts[:3])
            raise paramiko.SSHException(
                f"as {self._login.user}: it asks {asked!r}, which is not for the password alone. "
                "Use a key, or let sshd take passwords (PasswordAuthentication yes)"
            )
        return [self._login.password]

    def _why_no_password(self) -> str:
        return (
            "the password was kept back, since its host key was not known before this login. With host_keys "
            '= "accept-new" it is pinned now, and the next attempt sends the password. To send it to any '
            'machine, set [collect] password_to = "any"'
        )

    def _refuse(self, more: str) -> NoReturn:
        refused = self._refused
        user = self._login.user
        if self._login.is_remembered:
            user += " (which let labmon in before; name another account with --user)"
        what = f"it refused {', '.join(refused[:2])}" if refused else "it accepts no login of this kind"
        what += f" and {len(refused) - 2} more" if len(refused) > 2 else ""
        if self._notes and not refused:
            what = ""
        parts = [" ".join(filter(None, [what, more])), *self._notes]
        raise HostFailed("auth failed", one_line(f"as {user}: {'; '.join(filter(None, parts))}", 500))


_SHA1_ONLY = (
    "{} is not offered: the machine takes RSA keys only with SHA-1 (ssh-rsa), which labmon does not use. "
    "Take an ed25519 key, or add rsa-sha2-512 to its PubkeyAcceptedAlgorithms"
)
