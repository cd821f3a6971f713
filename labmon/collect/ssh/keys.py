"""Private keys, of files and of the SSH agent."""

import io
import logging
import os
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import paramiko  # type: ignore[import-untyped]
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from labmon.collect.failures import one_line
from labmon.errors import ConfigError

logger = logging.getLogger(__name__)

MAX_KEY = 1 << 20
"""Bytes of a file. The longest key takes a hundredth of that."""


def read_key(path: Path, passphrase: str = "") -> paramiko.PKey:
    """A private key file: OpenSSH's format, PEM, or PKCS #8. The passphrase is used where it has one.

    Raises ConfigError saying what is the matter with it.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            data = file.read(MAX_KEY) or b""
    except OSError as error:
        raise ConfigError(f"{path}: the key cannot be read: {error.strerror}") from error
    if data.startswith(b"PuTTY-User-Key-File"):
        raise ConfigError(
            f"{path}: a key in PuTTY's format. Convert it: puttygen {path} -O private-openssh -o FILE"
        )
    private = _decrypted(path, data, passphrase)
    kinds = {
        rsa.RSAPrivateKey: paramiko.RSAKey,
        ec.EllipticCurvePrivateKey: paramiko.ECDSAKey,
        ed25519.Ed25519PrivateKey: paramiko.Ed25519Key,
    }
    kind = next((kind for known, kind in kinds.items() if isinstance(private, known)), None)
    try:
        if kind is None:
            raise ValueError(type(private).__name__)
        # paramiko itself does not read PKCS #8.
        text = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
        key = kind.from_private_key(io.StringIO(text))
        certificate = path.with_name(path.name + "-cert.pub")
        if certificate.exists():
            key.load_certificate(str(certificate))
    except Exception as error:  # a file may be wrong in many ways, and paramiko lets most of them through
        raise ConfigError(
            f"{path}: labmon can use RSA, ECDSA and Ed25519 keys, not this one. "
            "Make one with: ssh-keygen -t ed25519"
        ) from error
    return key


def _decrypted(path: Path, data: bytes, passphrase: str) -> Any:
    """The key in a file. Raises ConfigError."""
    load = load_ssh_private_key if b"BEGIN OPENSSH PRIVATE KEY" in data else load_pem_private_key
    try:
        return load(data, None)
    except UnsupportedAlgorithm as error:
        raise ConfigError(_undecryptable(path)) from error
    except Exception as error:
        # One of them raises TypeError, the other ValueError, for a key that needs a password.
        if not isinstance(error, TypeError) and "password" not in str(error).lower():
            raise ConfigError(f"{path}: {_no_key(data)}") from error
        if not passphrase:
            raise ConfigError(
                f"{path}: the key has a passphrase. Load it with ssh-add and leave [collect] key_files "
                "empty, or set key_passphrase_file"
            ) from error
    try:
        return load(data, passphrase.encode())
    except UnsupportedAlgorithm as error:
        raise ConfigError(_undecryptable(path)) from error
    except Exception as error:
        raise ConfigError(f"{path}: its passphrase is another than [collect] key_passphrase") from error


def _no_key(data: bytes) -> str:
    if not data:
        return "this is no private key: the file is empty"
    if data.startswith((b"ssh-", b"ecdsa-", b"sk-")):
        return "this is a public key, no private key. Name the file without .pub"
    if b"PRIVATE KEY-----" in data:
        return "no private key can be read from it: it is damaged. Copy the whole file again"
    return "this is no private key. Name a file such as ~/.ssh/id_ed25519, or make one: ssh-keygen -t ed25519"


def _undecryptable(path: Path) -> str:
    return f"{path}: labmon cannot decrypt this key. Encrypt it in the usual way: ssh-keygen -p -f {path}"


class _AgentKey(paramiko.AgentKey):  # type: ignore[misc]
    """A key of the agent, which is asked over a new connection each time: paramiko mixes up the answers when
    several sessions ask over one."""

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> bytes:
        with closing(paramiko.Agent()) as agent:
            if not agent.get_keys():
                raise paramiko.SSHException("the SSH agent has gone, or has no keys any more")
            return cast("bytes", paramiko.AgentKey(agent, self.blob).sign_ssh_data(data, algorithm))


def agent_keys() -> list[tuple[str, paramiko.PKey]]:
    """What the SSH agent holds, if there is one: (comment, key)."""
    if not os.path.exists(os.environ.get("SSH_AUTH_SOCK", "")):
        return []
    try:
        with closing(paramiko.Agent()) as agent:
            return [
                (one_line(key.comment, 40) or key.get_name(), _AgentKey(agent, key.blob, key.comment))
                for key in agent.get_keys()
            ]
    except (paramiko.SSHException, OSError) as error:
        logger.warning("the SSH agent does not answer: %s", error)
        return []
