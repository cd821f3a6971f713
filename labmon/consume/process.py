"""One worker process, as its supervisor sees it."""

import pickle
import subprocess
import sys
import threading
import time
from contextlib import suppress

from labmon.consume.beat import Beat, Job


class Process:
    """Starts at once. It ends with its supervisor, however that ends: see `labmon.consume.beat`."""

    def __init__(self, job: Job) -> None:
        self.started = self._heard = time.monotonic()
        self.beat: Beat | None = None  #: the last one
        self.is_killed = False
        self._drained: float | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-m", "labmon.consume.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,  # Ctrl-C is for the supervisor
        )
        self._listeners = [
            threading.Thread(target=target, daemon=True) for target in (self._listen, self._repeat)
        ]
        for listener in self._listeners:
            listener.start()
        with suppress(BrokenPipeError):  # it has died already, and will be found so
            assert self._process.stdin is not None
            self._process.stdin.write(pickle.dumps(job))
            self._process.stdin.flush()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """True when it is over, and has been heard out."""
        return self._process.poll() is not None and not any(one.is_alive() for one in self._listeners)

    @property
    def exit_code(self) -> int | None:
        """Negative for a signal; None while it runs."""
        return self._process.returncode

    @property
    def draining_since(self) -> float | None:
        """By the monotonic clock; None while it is meant to work."""
        return self._drained

    def silent_for(self, now: float) -> float:
        """Seconds since it was last heard of."""
        return now - self._heard

    def excuse(self) -> None:
        """It may have beaten while nobody listened."""
        self._heard = time.monotonic()

    def drain(self) -> None:
        """Have it finish what it has in hand, and end."""
        if self._drained is None:
            self._drained = time.monotonic()
            with suppress(OSError):
                assert self._process.stdin is not None
                self._process.stdin.close()

    def kill(self) -> None:
        """At once. What it holds returns to the queue."""
        self.is_killed = True
        with suppress(ProcessLookupError):
            self._process.kill()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as beats:
            while True:
                try:
                    self.beat = pickle.load(beats)
                except (EOFError, pickle.UnpicklingError, OSError):
                    return
                self._heard = time.monotonic()

    def _repeat(self) -> None:
        """What it logs goes through here, so that it does not write across what is drawn on a terminal."""
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                sys.stderr.write(line.decode(errors="replace"))
                sys.stderr.flush()
