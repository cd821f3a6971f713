"""A sweep by the installed nmap."""

import errno
import os
import selectors
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO

from labmon.errors import LabmonError, UsageError
from labmon.messages import utcnow
from labmon.scan.host import Host
from labmon.scan.methods.context import SweepContext
from labmon.scan.methods.nmap_xml import NmapXml, NotNmap
from labmon.scan.pacing.rate import TICK
from labmon.scan.targets.address import is_ipv6
from labmon.text import foreign

GRACE = 2.0
"""Seconds that nmap has to end when it is asked to."""


class Nmap:
    """Runs `nmap -sn` and yields the hosts as it reports them. All targets of one family. Iterate it once.

    nmap chooses the packets, by what this account may send; `rate` is kept. Iterating raises LabmonError when
    nmap fails, or ends without saying that it finished with success: then hosts may be missing.
    """

    def __init__(self, targets: Sequence[str], context: SweepContext) -> None:
        """Raises UsageError when there is no nmap."""
        program = shutil.which("nmap")
        if program is None:
            raise UsageError("--type nmap: there is no nmap on this machine: apt-get install nmap")
        self._command = [program, "-sn", "-n", "-oX", "-", "--stats-every", "500ms", "-iL", "-"]
        if rate := context.settings.rate:
            self._command += ["--max-rate", str(rate)]
        if targets and is_ipv6(targets[0]):
            self._command.insert(1, "-6")
        self._targets = targets
        self._xml = NmapXml(utcnow(), set(targets))
        self._progress = context.progress
        self._stop = context.stop

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
                code = _exit_code(process)
                if code:
                    trouble.seek(0)
                    raise LabmonError(f"nmap ended with {code}: {_last_line(trouble.read(65536))}")
                if not self._xml.finished:
                    raise LabmonError(
                        "nmap ended before it was finished, so machines may be missing; scan again, "
                        "or use --type auto"
                    )
            finally:
                _end(process)

    def _read(self, output: IO[bytes]) -> Iterator[list[Host]]:
        xml = self._xml
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
                    raise LabmonError(f"the output of nmap cannot be read: {error}") from error
                self._progress.asked = int(len(self._targets) * xml.percent / 100)
                self._progress.found += len(hosts)
                yield hosts
        self._progress.refused |= dict.fromkeys(xml.skipped, os.strerror(errno.ENETUNREACH))


def _exit_code(process: "subprocess.Popen[bytes]") -> int:
    """After the end of its output. Raises LabmonError when it goes on running."""
    try:
        return process.wait(GRACE)
    except subprocess.TimeoutExpired:
        raise LabmonError("nmap closed its output and did not end: scan again, or use --type auto") from None


def _last_line(text: bytes) -> str:
    """For one line of a terminal: nothing in it is obeyed."""
    lines = text.decode(errors="replace").strip().splitlines()
    last = lines[-1] if lines else "without a reason"
    return foreign(last[:300])


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ask it to end, then kill it. Harmless when it has ended."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()
