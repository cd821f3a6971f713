"""Durations, sizes and numbers of workers as people write them."""

import re
from typing import Any


class Seconds(float):
    """A duration in seconds. Written as a number of seconds or as "250ms", "30s", "5m", "24h", "7d", "2w"."""

    UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
    LONGEST = 3650 * 86400.0  # longer ones overflow in C's timeouts

    @classmethod
    def parse(cls, value: object) -> "Seconds":
        """Raises ValueError for anything else, negative durations included."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)?", str(value).strip())
        if isinstance(value, bool) or not match:
            raise ValueError('expected a duration such as "30s", "5m", "24h", "7d" or "2w"')
        seconds = float(match[1]) * cls.UNITS[match[2] or "s"]
        if seconds > cls.LONGEST:
            raise ValueError("expected a duration of at most ten years")
        return cls(seconds)

    def __str__(self) -> str:
        for unit in ("d", "h", "m", "s"):
            if self and self % self.UNITS[unit] == 0:
                return f"{int(self / self.UNITS[unit])}{unit}"
        return f"{int(round(self * 1000))}ms" if self else "0s"


class Bytes(int):
    """A size. Written as a number of bytes or as "64KiB", "256MiB", "2GiB"."""

    UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

    @classmethod
    def parse(cls, value: object) -> "Bytes":
        """Raises ValueError for anything else."""
        match = re.fullmatch(r"(\d+)\s*(KiB|MiB|GiB)?", str(value).strip(), re.ASCII)
        if isinstance(value, bool) or not match:
            raise ValueError('expected a size such as "64KiB", "256MiB" or "2GiB"')
        return cls(int(match[1]) * cls.UNITS.get(match[2], 1))

    def __str__(self) -> str:
        for unit in ("GiB", "MiB", "KiB"):
            if self and self % self.UNITS[unit] == 0:
                return f"{self // self.UNITS[unit]}{unit}"
        return f"{int(self)}"


class Workers(str):
    """A number of worker processes: "4", or "1..8" for as many as are needed within these bounds."""

    MOST = 256

    @classmethod
    def parse(cls, value: object) -> "Workers":
        """Raises ValueError for anything else."""
        match = re.fullmatch(r"(\d{1,4})(?:\.\.(\d{1,4}))?", str(value).strip(), re.ASCII)
        least, most = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if match is None or isinstance(value, bool) or not 1 <= least <= most <= cls.MOST:
            raise ValueError(f'expected a number of workers such as "4" or "1..8", at most {cls.MOST}')
        return cls(match[0])

    @property
    def least(self) -> int:
        """The lower bound."""
        return int(self.partition("..")[0])

    @property
    def most(self) -> int:
        """The upper bound."""
        return int(self.rpartition("..")[2])


def decode(kind: type, value: Any) -> Any:
    """msgspec's `dec_hook` for these types. Raises ValueError for a value of a wrong type."""
    if kind is Seconds or kind is Bytes or kind is Workers:
        return value if isinstance(value, kind) else kind.parse(value)
    raise ValueError(f"expected {kind.__name__}")
