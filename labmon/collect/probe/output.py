"""What the probe printed, cut into its parts, and the words in it. Pure.

A part starts with a line `#name`. On Linux a line may begin with the file it comes from, as `grep` has it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from labmon.collect.failures import HostFailed, one_line
from labmon.collect.probe.script import BEGIN, END

INT = r"\d{1,19}"

Lines = list[str]


@dataclass
class Part:
    """The lines of a part: those of programs, and those of files by the file's name."""

    name: str
    lines: Lines = field(default_factory=list)
    files: dict[str, Lines] = field(default_factory=dict)


@dataclass(frozen=True)
class ProbeOutput:
    """One block, whole."""

    system: str  #: "linux", "darwin" or "windows"
    parts: tuple[Part, ...]

    @classmethod
    def read(cls, output: bytes) -> "ProbeOutput":
        """Noise before the first marker is skipped. Raises `HostFailed` when there is none, or no end."""
        output = b"\n" + output.replace(b"\r\n", b"\n")
        start = output.find(BEGIN)
        if start < 0:
            said = one_line(output)
            raise HostFailed(
                "output unusable", f"not the probe's output: {said!r}" if said else "no output at all"
            )
        end = output.find(END, start)
        if end < 0:
            raise HostFailed(
                "output unusable", f"the probe's output breaks off after {len(output) - 1} bytes"
            )
        head, *lines = output[start + len(BEGIN) : end].decode("utf-8", "replace").split("\n")
        version, _, system = head.partition(" ")
        if version != "1":
            raise HostFailed("output unusable", f"a probe of version {one_line(version, 20)!r}, not 1")
        return cls(system or "linux", tuple(_parts(lines)))

    def lines(self, name: str) -> Lines:
        """What programs printed in the part of that name; of several such parts, the last."""
        return next((part.lines for part in reversed(self.parts) if part.name == name), [])

    def has(self, name: str) -> bool:
        """True when there is a part of that name, be it empty."""
        return any(part.name == name for part in self.parts)

    def file(self, path: str) -> Lines:
        """The lines of a file, in the last part that has it."""
        return next((part.files[path] for part in reversed(self.parts) if path in part.files), [])

    def samples(self) -> list[Part]:
        """The looks at the counters, in their order."""
        return [part for part in self.parts if part.name == "sample"]


def _parts(lines: Lines) -> list[Part]:
    part = Part("")
    parts = [part]
    for line in lines:
        if line.startswith("#"):
            part = Part(line[1:])
            parts.append(part)
        elif line.startswith(("/proc/", "/run/")) and ":" in line:
            file, _, line = line.partition(":")
            part.files.setdefault(file, []).append(line)
        elif line:
            part.lines.append(line)
    return parts


def match(pattern: str, lines: Iterable[str]) -> re.Match[str] | None:
    """The first line that is wholly the pattern."""
    return next((found for line in lines if (found := re.fullmatch(pattern, line, re.ASCII))), None)


def is_int(word: str) -> bool:
    """Plain digits, and no more of them than a 64-bit counter has."""
    return len(word) <= 20 and word.isascii() and word.isdigit()


def ints(words: list[str], *places: int) -> tuple[int, ...] | None:
    """The whole numbers at these places of a line, from its end when negative; None if one is none."""
    try:
        chosen = [words[place] for place in places]
    except IndexError:
        return None
    return tuple(map(int, chosen)) if all(map(is_int, chosen)) else None


def share(used: float, total: float) -> float | None:
    """Percent; None when there is nothing to have a share of."""
    return 100 * used / total if total > 0 and used >= 0 else None


def known(**found: float | None) -> dict[str, float]:
    """Those that are known."""
    return {name: value for name, value in found.items() if value is not None}
