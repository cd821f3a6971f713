"""A sweep by the installed nmap, for who trusts that one more."""

import errno
import os
import selectors
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from threading import Event
from typing import IO

from labmon.config import Scan
from labmon.errors import LabmonError, UsageError
from labmon.messages import utcnow
from labmon.scan.address import is_ipv6
from labmon.scan.host import Host
from labmon.scan.nmap_xml import NmapXml, NotNmap
from labmon.scan.pace import TICK
from labmon.scan.progress import Progress

GRACE = 2.0
"""Seconds that nmap has to end when it is told to."""


class Nmap:
    """Runs `nmap -sn` and hands out the hosts as it tells them. All targets of one family. Iterate it once.

    Which packets it sends is nmap's affair, and depends on what this account may do; `rate` is kept.
    """

    def __init__(self, targets: Sequence[str], settings: Scan, progress: Progress, stop: Event) -> None:
        """Raises UsageError when there is no nmap."""
        program = shutil.which("nmap")
        if program is None:
            raise UsageError("--type nmap: there is no nmap on this machine: apt-get install nmap")
        self._command = [program, "-sn", "-n", "-oX", "-", "--stats-every", "500ms", "-iL", "-"]
        if settings.rate:
            self._command += ["--max-rate", str(settings.rate)]
        if targets and is_ipv6(targets[0]):
            self._command.insert(1, "-6")
        self._targets = targets
        self._progress = progress
        self._stop = stop

    def __iter__(self) -> Iterator[list[Host]]:
        self._progress.start("nmap", len(self._targets))
        # Files, not pipes: nmap reads and writes when it likes, and neither side can block the other.
        with tempfile.TemporaryFile() as wanted, tempfile.TemporaryFile() as trouble:
            wanted.writelines(f"{address}\n".encode() for address in self._targets)
            wanted.seek(0)
            process = subprocess.Popen(
                self._command, stdin=wanted, stdout=subprocess.PIPE, stderr=trouble, bufsize=0
            )
            try:
                assert process.stdout is not None
                yield from self._read(process.stdout)
                if self._stop.is_set():
                    return
                code = process.wait(GRACE)
                if code:
                    trouble.seek(0)
                    raise LabmonError(f"nmap ended with {code}: {_last_line(trouble.read(65536))}")
            finally:
                _end(process)

    def _read(self, output: IO[bytes]) -> Iterator[list[Host]]:
        xml = NmapXml(utcnow())
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while not self._stop.is_set():
                if not selector.select(TICK):
                    yield []
                    continue
                piece = output.read(65536)
                if not piece:
                    break
                try:
                    hosts = xml.feed(piece, utcnow())
                except NotNmap as error:
                    raise LabmonError(f"nmap wrote what cannot be read: {error}") from error
                self._progress.asked = int(len(self._targets) * xml.percent / 100)
                self._progress.found += len(hosts)
                yield hosts
        self._progress.refused |= dict.fromkeys(xml.skipped, os.strerror(errno.ENETUNREACH))


def _last_line(text: bytes) -> str:
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it did not say why"


def _end(process: "subprocess.Popen[bytes]") -> None:
    """By its id, gently first. Harmless when it has ended."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()
