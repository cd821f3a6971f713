import io
import time
from datetime import UTC, datetime

from rich.console import Console

from labmon.cli.scan.view import NEWEST, live
from labmon.scan.host import Host
from labmon.scan.progress import Progress


def host(number):
    return Host(f"10.0.{number // 250}.{number % 250 + 1}", "ping", datetime.now(UTC), rtt=0.001)


def test_hosts_are_shown_while_the_sweep_runs_and_the_screen_is_left_clean():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, height=40)
    hosts, progress = [], Progress("ping", 5, 10, 1)
    with live(progress, hosts, console):
        hosts.append(host(6))
        time.sleep(0.3)
    assert "10.0.0.7" in out.getvalue()
    assert "5/10 asked, 1 found" in out.getvalue()
    assert out.getvalue().endswith("\x1b[1A\x1b[2K")


def test_two_thousand_hosts_are_drawn_as_quickly_as_twenty():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, height=40)
    hosts = [host(number) for number in range(2000)]
    before = time.process_time()
    with live(Progress("ping", 10, 10, 2000), hosts, console):
        time.sleep(0.5)
    assert time.process_time() - before < 0.5
    assert "10.0.7.250" in out.getvalue()
    assert out.getvalue().count("10.0.7.") % NEWEST == 0
    assert "10.0.0.7" not in out.getvalue()
