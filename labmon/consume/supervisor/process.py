"""One worker process, seen from its supervisor."""

import pickle
import subprocess
import sys
import threading
import time
from contextlib import suppress

from labmon.consume.supervisor.heartbeat import Heartbeat, WorkerJob


class Process:
    """Starts at once, and ends with its supervisor, however that ends: see `heartbeat`."""

    def __init__(self, job: WorkerJob) -> None:
        self.started = self._heard = time.monotonic()
        self.heartbeat: Heartbeat | None = None  #: the last one
        self.is_killed = False
        self._drained: float | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-m", "labmon.consume.supervisor.worker_main"],
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
        """True when it has ended and all its output has been read."""
        return self._process.poll() is not None and not any(one.is_alive() for one in self._listeners)

    @property
    def exit_code(self) -> int | None:
        """Negative for a signal; None while it runs."""
        return self._process.returncode

    @property
    def draining_since(self) -> float | None:
        """When `drain` was called, by the monotonic clock; None before."""
        return self._drained

    def silent_for(self, now: float) -> float:
        """Seconds since its last heartbeat."""
        return now - self._heard

    def reset_heartbeat(self) -> None:
        """Count its silence from now on: the supervisor itself may have been stopped in the meantime."""
        self._heard = time.monotonic()

    def drain(self) -> None:
        """Let it finish the batches in hand and end."""
        if self._drained is None:
            self._drained = time.monotonic()
            self._end_input()

    def kill(self) -> None:
        """End it at once. The messages it holds return to the queue."""
        self.is_killed = True
        with suppress(ProcessLookupError):
            self._process.kill()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as heartbeats:
            while True:
                try:
                    self.heartbeat = pickle.load(heartbeats)
                except (EOFError, pickle.UnpicklingError, OSError):
                    break  # it has ended, or will with the end of its input
                self._heard = time.monotonic()
        self._end_input()

    def _end_input(self) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()

    def _repeat(self) -> None:
        """Pass on what it logs, so that it does not write across what is drawn on the terminal."""
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                sys.stderr.write(line.decode(errors="replace"))
                sys.stderr.flush()
