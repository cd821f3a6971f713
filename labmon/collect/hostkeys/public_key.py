"""Public host keys as they travel: whole or not, and of a type that a machine can be asked for.

`ssh-keygen -l` is the judge. A line of known_hosts with half a key, or a key of a type that labmon cannot
ask for, says nothing of a machine: if it counted, every key that the machine shows would be a changed one.
"""

import binascii
from functools import lru_cache

HostKey = tuple[str, bytes]
"""(type such as "ssh-ed25519", the key as it travels: RFC 4253, section 6.6)"""

_MIN_RSA_BITS, _MAX_RSA_BITS = 1024, 16384
"""Of the modulus, as in OpenSSH."""


def _field(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


_FIXED = {
    # type -> what a key begins with, and how long it is (RFC 8709, RFC 5656)
    "ssh-ed25519": (_field(b"ssh-ed25519") + b"\0\0\0\x20", 51),
    "ecdsa-sha2-nistp256": (_field(b"ecdsa-sha2-nistp256") + _field(b"nistp256") + b"\0\0\0\x41\x04", 104),
    "ecdsa-sha2-nistp384": (_field(b"ecdsa-sha2-nistp384") + _field(b"nistp384") + b"\0\0\0\x61\x04", 136),
    "ecdsa-sha2-nistp521": (_field(b"ecdsa-sha2-nistp521") + _field(b"nistp521") + b"\0\0\0\x85\x04", 172),
}
_RSA = {"ssh-rsa", "rsa-sha2-256", "rsa-sha2-512"}
_RSA_START = _field(b"ssh-rsa")


def read_key(word: str, text: str) -> HostKey | None:
    """The key of a line of known_hosts, by its type and base64; None unless it is whole, begins with its type
    and is of a type that can be asked for."""
    fixed = _FIXED.get(word)
    if fixed is None and word not in _RSA:
        return None
    try:
        blob = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    if fixed is not None:
        start, length = fixed
        return (word, blob) if len(blob) == length and blob.startswith(start) else None
    return ("ssh-rsa", blob) if blob.startswith(_RSA_START) and _is_rsa(blob[len(_RSA_START) :]) else None


def _is_rsa(fields: bytes) -> bool:
    """An exponent and a modulus, neither negative, and nothing behind them."""
    numbers = []
    for _ in range(2):
        length = int.from_bytes(fields[:4], "big")
        number, fields = fields[4 : 4 + length], fields[4 + length :]
        if len(number) < length or length > _MAX_RSA_BITS // 8 + 1 or number[:1] > b"\x7f":
            return False
        numbers.append(int.from_bytes(number, "big"))
    return not fields and _MIN_RSA_BITS <= numbers[1].bit_length() <= _MAX_RSA_BITS


@lru_cache(maxsize=4096)
def is_valid(key: HostKey) -> bool:
    """False for a point that is not on its curve: asked for the few keys that matter: it costs 0.1 ms."""
    kind, blob = key
    if not kind.startswith("ecdsa-"):
        return True
    from cryptography.hazmat.primitives.asymmetric import ec

    curve = {"nistp256": ec.SECP256R1(), "nistp384": ec.SECP384R1(), "nistp521": ec.SECP521R1()}[kind[-8:]]
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(curve, blob[len(_FIXED[kind][0]) - 1 :])
    except ValueError:
        return False
    return True
