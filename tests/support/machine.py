"""This machine once more, with an /etc, accounts, a network and a systemd of its own, to be changed as root.

    with Machine() as machine:
        machine.run("useradd --system labmon && systemctl enable --now labmon-consume")

The kernel's namespaces make it: the programs are those of the real machine; what is written to /etc, /var,
/opt, /usr/local, /root, /home, /run and /tmp is lost at the end; the only network is its loopback, which owns
`ADDRESSES` too, so that commands may be run as documented. It needs root.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

import pytest

REPOSITORY = Path(__file__).parents[2]
CLONE = "/root/labmon"
"""Where the machine has the repository's examples."""

ADDRESSES = ["10.30.5.10"]
NAMES = ["db.example.edu", "mq.example.edu", "smtp.example.edu"]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NAMESPACES = ["mount", "pid", "cgroup", "uts", "ipc", "net"]
_CGROUPS = Path("/sys/fs/cgroup")
_BOOT_LIMIT = 30.0

_BOOT = """
set -eu
folder=$1 repository=$2 base=$3 packages=$4 version=$5
mount --make-rprivate /
mount -t tmpfs -o mode=0755 labmon-test "$folder"
mkdir "$folder/base" "$folder/packages"
mount --bind "$base" "$folder/base"
mount --bind "$packages" "$folder/packages"
for place in etc var opt usr/local; do
    upper=$folder/upper/$place work=$folder/work/$place
    mkdir -p "$upper" "$work"
    mount -t overlay -o "lowerdir=/$place,upperdir=$upper,workdir=$work" overlay "/$place"
done

# labmon as `pip install` puts it into /opt/labmon, of a Python that every account may run.
mkdir -p /opt/python "/opt/labmon/lib/$version/site-packages" /opt/labmon/bin
mount --bind "$folder/base" /opt/python
echo /opt/python/lib >/etc/ld.so.conf.d/00-labmon-test.conf
ldconfig
ln -s "/opt/python/bin/$version" /opt/labmon/bin/python
printf 'home = /opt/python/bin\n' >/opt/labmon/pyvenv.cfg
mkdir "$folder/upper/site" "$folder/work/site"
mount -t overlay -o "lowerdir=$folder/packages,upperdir=$folder/upper/site,workdir=$folder/work/site" \\
    overlay "/opt/labmon/lib/$version/site-packages"
cp -r "$repository/labmon" "/opt/labmon/lib/$version/site-packages/"
printf '#!/opt/labmon/bin/python\nfrom labmon.__main__ import main\nmain()\n' >/opt/labmon/bin/labmon
chmod 0755 /opt/labmon/bin/labmon
ln -sf /opt/labmon/bin/labmon /usr/local/bin/labmon
cp -r "$repository/examples" "$folder/examples"

mount -t tmpfs -o mode=0700 tmpfs /root
mkdir /root/labmon
mv "$folder/examples" /root/labmon/
for place in home run; do mount -t tmpfs -o mode=0755 tmpfs "/$place"; done
mkdir "$folder/dev"
for device in null zero full random urandom tty; do
    touch "$folder/dev/$device"
    mount --bind "/dev/$device" "$folder/dev/$device"
done
mount --rbind "$folder/dev" /dev
ln -s /proc/self/fd /dev/fd
mkdir /dev/shm /dev/pts
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts /dev/pts
ln -s pts/ptmx /dev/ptmx
for place in tmp dev/shm; do mount -t tmpfs -o mode=1777 tmpfs "/$place"; done
rm -rf /etc/systemd/system/*.wants /etc/labmon /var/lib/labmon /etc/ssh/ssh_host_*

mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,ro,bind /proc/sys
if [ -d /sys/fs/cgroup/unified ]; then
    mount -t tmpfs -o mode=0755 tmpfs /sys/fs/cgroup
    mkdir /sys/fs/cgroup/systemd /sys/fs/cgroup/unified
    mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
    mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
else
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
ip link set lo up
hostname labmon-test
shift 5
for address in $ADDRESSES; do ip address add "$address/32" dev lo; done
printf '127.0.0.1 localhost labmon-test %s\\n' "$NAMES" >/etc/hosts
printf '[Unit]\\nDefaultDependencies=no\\n' >/etc/systemd/system/labmon-test.target
exec env -i container=labmon PATH="$PATH" /lib/systemd/systemd --unit=labmon-test.target --log-target=null
"""


class Machine:
    """Started by `with`; everything that runs on it ends with it."""

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="labmon-machine-", dir="/tmp"))
        self._cgroups = [
            root / self._folder.name
            for root in ([_CGROUPS / "systemd", _CGROUPS / "unified"] if _is_hybrid() else [_CGROUPS])
        ]
        for cgroup in self._cgroups:
            cgroup.mkdir()
        self._started: list[subprocess.Popen[bytes]] = []
        self._log = (self._folder.with_suffix(".log")).open("w+")
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self._unshare = subprocess.Popen(
            [
                *("unshare", *(f"--{name}" for name in _NAMESPACES), "--fork", "--kill-child"),
                *("sh", "-c", _BOOT, "boot", self._folder, REPOSITORY, sys.base_prefix),
                *(Path(pytest.__file__).parents[1], version),
            ],
            env={"PATH": PATH, "ADDRESSES": " ".join(ADDRESSES), "NAMES": " ".join(NAMES)},
            preexec_fn=self._enter_cgroups,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _enter_cgroups(self) -> None:
        for cgroup in self._cgroups:
            (cgroup / "cgroup.procs").write_text(str(os.getpid()))

    def _wait(self) -> None:
        deadline = time.monotonic() + _BOOT_LIMIT
        while True:
            children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children")
            if self._unshare.poll() is not None or time.monotonic() > deadline:
                self._log.seek(0)
                raise RuntimeError(f"the machine did not start: {self._log.read()}")
            if pids := children.read_text().split():
                self.init = int(pids[0])
                if self.run("systemctl is-active --quiet labmon-test.target", check=False).returncode == 0:
                    return
            time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        if self._unshare.poll() is None:
            self._unshare.send_signal(
                signal.SIGKILL
            )  # and with it its process 1, which takes all others along
        for process in (self._unshare, *self._started):
            process.wait(30)
        self._log.close()
        self._folder.with_suffix(".log").unlink()
        shutil.rmtree(self._folder, ignore_errors=True)
        for cgroup in self._cgroups:
            _remove(cgroup)

    def command(self, *argv: str) -> list[str]:
        """The command line that runs `argv` there, as root with an empty environment."""
        inside = [
            "nsenter",
            f"--target={self.init}",
            *(f"--{name}" for name in _NAMESPACES if name != "cgroup"),
        ]
        return [*inside, "--wd=/", "env", "-i", f"PATH={PATH}", "HOME=/root", *argv]

    def run(
        self, script: str, *, folder: str = "/root", check: bool = True, timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Run the lines by a shell that stops at the first failure.

        Raises AssertionError with what they printed, unless `check` is false.
        What they leave running may hold their output, so that is a file and no pipe.
        """
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            done = subprocess.run(
                self.command("bash", "-euc", f"cd {folder}\n{script}"),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                timeout=timeout,
            )
            out.seek(0)
            err.seek(0)
            result = subprocess.CompletedProcess(script, done.returncode, out.read(), err.read())
        assert not check or done.returncode == 0, (
            f"{script}\nexit code {done.returncode}\n{result.stdout}{result.stderr}"
        )
        return result

    def until(self, script: str, *, seconds: float = 60) -> None:
        """Run the lines until they succeed."""
        deadline = time.monotonic() + seconds
        while self.run(script, check=False).returncode != 0:
            assert time.monotonic() < deadline, f"it never succeeded: {script}"
            time.sleep(0.5)

    def start(self, *argv: str) -> None:
        """Start a program that ends with the machine at the latest."""
        self._started.append(subprocess.Popen(self.command(*argv), stdin=subprocess.DEVNULL, cwd="/"))


def require() -> None:
    """Skip the test where no such machine can be made; fail it there for a missing program when CI=true."""
    missing = [name for name in ("nsenter", "unshare", "ip", "systemctl") if not shutil.which(name)]
    if os.geteuid() != 0:
        pytest.skip("a machine of one's own needs root")
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"not installed: {', '.join(missing)}")
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    namespaces = [f"--{name}" for name in _NAMESPACES]
    if (
        subprocess.run(["unshare", *namespaces, "--fork", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).returncode
        != 0
    ):
        pytest.skip("this kernel forbids namespaces")


def _is_hybrid() -> bool:
    return (_CGROUPS / "unified").is_dir()


def _remove(cgroup: Path) -> None:
    """A cgroup and those below it, once the kernel has reaped their processes."""
    deadline = time.monotonic() + 10
    for folder, _, _ in [*os.walk(cgroup, topdown=False)]:
        while True:
            try:
                os.rmdir(folder)
                break
            except OSError:
                if time.monotonic() > deadline:
                    return
                time.sleep(0.05)
