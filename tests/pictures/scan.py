"""Draw examples/scan/scan-live.svg and scan.svg: a real scan of machines in a namespace, as a terminal
showed it while it ran and when it had ended. Needs root; see `make pictures`."""

import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.support import netns

LABMON = str(Path(sys.executable).parent / "labmon")
EXAMPLES = Path(__file__).parents[2] / "examples/scan"
COMMAND = ["scan", "10.77.0.0/24", "--dept", "1", "--rate", "100"]
WIDTH, HEIGHT = 118, 40

SERVERS = """
import socket, sys, threading
listening = [socket.create_server((address, int(port))) for address, port in
             (one.split(":") for one in sys.argv[1:])]
print("listening", flush=True)
threading.Event().wait()
"""

MACHINES = {  # number in the network -> name, MAC address, open ports
    11: ("physics-01", "f0:de:f1:10:00:11", [22]),
    12: ("physics-02", "f0:de:f1:10:00:12", [22]),
    13: ("physics-03", "f0:de:f1:10:00:13", [22, 80]),
    21: ("chem-win-01", "00:1b:21:20:00:21", [445, 3389]),
    22: ("chem-win-02", "00:1b:21:20:00:22", [445]),
    30: ("printer-2nd-floor", "3c:d9:2b:30:00:30", [80]),
    41: ("vm-grader", "52:54:00:40:00:41", [22]),
}


class Screen:
    """What a terminal shows, as far as rich uses one: lines, erased and gone back to."""

    def __init__(self):
        self.lines, self.row = [""], 0

    def feed(self, text):
        for part in re.split(r"(\x1b\[[0-9;?]*[A-Za-z]|\r|\n)", text):
            up = re.fullmatch(r"\x1b\[(\d+)A", part)
            if up:
                self.row = max(self.row - int(up[1]), 0)
            elif part == "\x1b[2K":
                self.lines[self.row] = ""
            elif part == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif part != "\r" and not re.fullmatch(r"\x1b\[.*[hl]", part):
                self.lines[self.row] += part

    def text(self):
        return "\n".join(self.lines).rstrip()


def draw(name, screen):
    console = Console(record=True, width=WIDTH, file=open(os.devnull, "w"), highlight=False)
    console.print(Text("$ labmon " + " ".join(COMMAND), style="bold"))
    console.print(Text.from_ansi(screen))
    console.save_svg(str(EXAMPLES / name), title="labmon scan")


def watched(namespace, env):
    """Run the scan on a terminal; what it showed while it ran, at its fullest, and at the end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
    process = subprocess.Popen(
        namespace.command(LABMON, *COMMAND), env=env, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    screen, running, deadline = Screen(), "", time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            screen.feed(os.read(ours, 65536).decode())
        except OSError:  # the terminal's other side is closed
            break
        shown = screen.text()
        if "arp  " in shown and "asked" in shown and shown.count("\n") >= running.count("\n"):
            running = shown
    process.wait(30)
    return running, screen.text()


def main():
    folder = Path(tempfile.mkdtemp(prefix="labmon-picture-"))
    folder.chmod(0o711)
    (folder / "config.toml").touch()
    env = {k: v for k, v in os.environ.items() if not k.startswith(("LABMON_", "QUEUE_"))} | {
        "LABMON_CONFIG": str(folder / "config.toml"),
        "LABMON_STATE_DIR": str(folder / "state"),
        "TERM": "xterm-256color",
    }
    with netns.pair() as (near, far):
        for name in ("all", "default"):
            far.sysctl(f"net.ipv4.conf.{name}.arp_ignore=1")
            far.sysctl(f"net.ipv4.conf.{name}.rp_filter=0")
        far.firewall(
            "table ip windows { chain out { type filter hook output priority 0; "
            "ip saddr 10.77.0.20-10.77.0.29 ip ttl set 128; }; }"
        )
        near.write_etc(
            "hosts", "".join(f"10.77.0.{number} {name}\n" for number, (name, _, _) in MACHINES.items())
        )
        for number, (_, mac, _) in MACHINES.items():
            far.run(*f"ip link add link cable name pc{number} address {mac} type macvlan mode bridge".split())
            far.run("ip", "address", "add", f"10.77.0.{number}/32", "dev", f"pc{number}")
            far.run("ip", "link", "set", f"pc{number}", "up")
        open_ports = [f"10.77.0.{number}:{port}" for number, one in MACHINES.items() for port in one[2]]
        servers = far.start(sys.executable, "-c", SERVERS, *open_ports)
        assert servers.stdout.readline() == "listening\n"
        # A scan before, with one machine still away, one elsewhere and one that will have left.
        far.run("ip", "link", "set", "pc22", "down")
        far.run("ip", "address", "add", "10.77.0.99/32", "dev", "pc30")
        far.run("ip", "address", "del", "10.77.0.30/32", "dev", "pc30")
        far.run(
            *"ip link add link cable name pc50 address f0:de:f1:10:00:50 type macvlan mode bridge".split()
        )
        far.run(*"ip address add 10.77.0.50/32 dev pc50".split())
        far.run(*"ip link set pc50 up".split())
        near.run(LABMON, *COMMAND[:-2], env=env)
        far.run("ip", "link", "set", "pc22", "up")
        far.run("ip", "address", "add", "10.77.0.30/32", "dev", "pc30")
        far.run("ip", "address", "del", "10.77.0.99/32", "dev", "pc30")
        far.run("ip", "link", "del", "pc50")
        running, ended = watched(near, env)
    shutil.rmtree(folder)
    draw("scan-live.svg", running)
    draw("scan.svg", ended)
    print(running, ended, sep="\n\n")


if __name__ == "__main__":
    main()
