"""The account, keys and password that one machine is offered."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

Key = Any
"""A private key as `labmon.collect.ssh.keys` reads it."""

Keys = tuple[tuple[str, Key], ...]
"""(where it came from, key)"""


@dataclass(frozen=True)
class Login:
    """An account, the keys in the order in which they are tried, and then the password.

    Its repr shows neither keys nor password.
    """

    user: str
    keys: Keys = field(repr=False)
    password: str | None = field(repr=False)
    password_to_any: bool = False  #: else only to a machine whose key was known before
    is_remembered: bool = False  #: the account is the one that let labmon in the last time
    unusable: tuple[str, ...] = ()  #: key files that were to be offered and cannot be, each with the reason

    @property
    def fingerprint(self) -> str:
        """Another text when the account, a key, the password or who gets it is another.

        It is kept on disk. Of the password one byte of a hash goes into it, which shows nearly every change
        and is of no use to a reader of the file.
        """
        digest = hashlib.sha256(self.user.encode("utf-8", "surrogateescape"))
        for _, key in self.keys:
            digest.update(b"\0key" + hashlib.sha256(key.asbytes()).digest())
        if self.password is not None:
            digest.update(b"\0password" + hashlib.sha256(self.password.encode()).digest()[:1])
            digest.update(bytes([self.password_to_any]))
        return digest.hexdigest()[:32]
