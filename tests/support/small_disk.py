"""A disk that can be filled: a tmpfs, mounted for a block."""

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: str = "300k"):
    """Mount one at the folder, which is made; yields a function that fills it. Skips where it may not."""
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=711", "labmon-test", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this system mounts no tmpfs: {done.stderr.strip()}")

    def fill():
        with (folder / "other").open("ab", buffering=0) as other:
            while free := os.statvfs(folder).f_bavail:
                other.write(b"x" * 4096 * free)

    try:
        yield fill
    finally:
        subprocess.run(["umount", str(folder)], check=True)
