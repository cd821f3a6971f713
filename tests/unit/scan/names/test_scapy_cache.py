"""scapy in a cache folder that cannot be used."""

import os
import subprocess
import sys

import pytest

LOOK_UP = "from labmon.scan.names.vendor import vendor; print(vendor('00:1b:21:00:00:01'))"


def run(home, uid=None, **environ):
    drop = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"] if uid else []
    env = {k: v for k, v in os.environ.items() if k not in ("XDG_CACHE_HOME", "HOME")}
    return subprocess.run(
        [*drop, sys.executable, "-c", LOOK_UP],
        env=env | {"HOME": str(home)} | environ,
        capture_output=True,
        text=True,
        timeout=60,
    )


def is_fine(done):
    assert (done.returncode, done.stdout, done.stderr) == (0, "Intel\n", "")


# findings D9
@pytest.mark.parametrize(
    "obstacle", ["folder is closed", "file is closed", "file is broken and stays", "home is closed"]
)
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another account")
def test_as_an_account_that_may_not_use_the_cache(obstacle, tmp_path):
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    cache = tmp_path / ".cache" / "scapy"
    cache.mkdir(parents=True)
    if "file" in obstacle:
        (cache / "manufdb.pickle").write_bytes(b"no pickle")
        (cache / "manufdb.pickle").chmod(0o644 if "broken" in obstacle else 0)
    elif obstacle == "folder is closed":
        cache.chmod(0)
    else:
        (tmp_path / ".cache").chmod(0)
    try:
        is_fine(run(tmp_path, uid=65534))
    finally:
        (tmp_path / ".cache").chmod(0o755)
        cache.chmod(0o755)


# findings D9
@pytest.mark.parametrize("place", ["file", "link to nowhere", "missing", "folders in place of files"])
def test_with_something_else_in_its_place(place, tmp_path):
    cache = tmp_path / ".cache"
    if place == "file":
        cache.write_text("")
    elif place == "link to nowhere":
        cache.symlink_to(tmp_path / "nowhere" / "at all")
    elif place == "folders in place of files":
        for name in ("manufdb", "services", "ethertypes", "protocols"):
            (cache / "scapy" / f"{name}.pickle").mkdir(parents=True)
    is_fine(run(tmp_path))
    is_fine(run(tmp_path, XDG_CACHE_HOME=str(cache)))
