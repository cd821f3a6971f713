"""Pages in a browser, beside the same list as HTML of the server and the same charts by plotly.

    python -m tests.bench.dashboard_pages [--systems 2000] [--days 30] [--runs 5]

Five runs, ours and the peer's in turn, each in a browser context of its own with an empty cache. The peer of
the list is what htmx would be sent: a table with all rows, and for each filter or sort the rows again. The
peer of the charts is one page with plotly.js, which pip fetches into a temporary folder. CPU is the main
thread's (TaskDuration), which other work on the machine changes less than the clock.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
from playwright.sync_api import Browser, Page, sync_playwright

from labmon.store.migrate import migrate
from tests.support import campus
from tests.support.browsing import ARGUMENTS, CHROMIUM
from tests.support.servers import PostgresServer

LIST = """() => document.querySelector('.grid-body .grid-row a') &&
    !document.querySelector('[aria-busy=true]') && performance.now()"""
CHARTS = """() => document.querySelectorAll('figure.chart .line').length > 8 &&
    !document.querySelector('#charts[aria-busy=true]') && performance.now()"""
READY = "() => window.ready && performance.now()"
PAINTED = "await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));"
TYPED = """async ([selector, more]) => {
  const begun = performance.now();
  const input = document.querySelector(selector);
  input.value = more;
  input.dispatchEvent(new Event('input', { bubbles: true }));
"""
CLICKED = """async ([selector, _]) => {
  const begun = performance.now();
  document.querySelector(selector).click();
"""
SWAPPED = """
  const body = document.querySelector('tbody');
  await new Promise((done) => new MutationObserver(done).observe(body, { childList: true }));
"""
END = f"{PAINTED} return performance.now() - begun; }}"

Figures = dict[str, float]


class Visit:
    """One page in a context of its own; `figures` grow with what is done there."""

    def __init__(self, page: Page, url: str, ready: str) -> None:
        self.page = page
        self.figures: Figures = {}
        self._cdp = page.context.new_cdp_session(page)
        self._bytes = 0.0
        self._cdp.on("Network.loadingFinished", self._finished)
        self._cdp.send("Network.enable")
        self._cdp.send("Performance.enable")
        page.goto(url, wait_until="commit")
        handle = page.wait_for_function(ready, timeout=120_000)
        self.figures["interactive, ms"] = handle.json_value()
        page.evaluate(f"async () => {{ {PAINTED} }}")
        self.figures["CPU, ms"], self.figures["script, ms"] = self._cpu()
        self.figures["first load, KB"] = self._bytes / 1000
        self.figures["DOM nodes"] = page.evaluate("() => document.querySelectorAll('*').length")

    def _finished(self, event: dict[str, float]) -> None:
        self._bytes += event["encodedDataLength"]

    def _cpu(self) -> tuple[float, float]:
        found = {one["name"]: one["value"] for one in self._cdp.send("Performance.getMetrics")["metrics"]}
        return 1000 * found["TaskDuration"], 1000 * found["ScriptDuration"]

    def act(self, name: str, script: str, selector: str, text: str = "") -> None:
        """Run a script of the page, which returns its ms."""
        before, _ = self._cpu()
        self.figures[f"{name}, ms"] = self.page.evaluate(script, [selector, text])
        self.figures[f"{name}, CPU ms"] = self._cpu()[0] - before


@contextlib.contextmanager
def visiting(browser: Browser, url: str, ready: str) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    try:
        yield Visit(context.new_page(), url, ready)
    finally:
        context.close()


def ours_list(browser: Browser, base: str) -> Figures:
    with visiting(browser, f"{base}/systems", LIST) as visit:
        visit.act("filter", TYPED + END, "#filter", "eng 10")
        visit.figures["found"] = int(visit.page.locator("#shown").inner_text().split()[0].replace(",", ""))
        visit.act("sort", CLICKED + END, "[role=columnheader]:nth-child(2) button")
        assert "sort=" in visit.page.url
        return visit.figures


def peer_list(browser: Browser, base: str) -> Figures:
    with visiting(browser, f"{base}/peer/systems", READY) as visit:
        visit.act("filter", TYPED + SWAPPED + END, "#filter", "eng 10")
        visit.figures["found"] = visit.page.locator("tbody tr").count()
        visit.act("sort", CLICKED + SWAPPED + END, "[data-sort=ip_address]")
        return visit.figures


def ours_charts(browser: Browser, base: str, name: str) -> Figures:
    with visiting(browser, f"{base}/systems/1?range={name}", CHARTS) as visit:
        return visit.figures


def peer_charts(browser: Browser, base: str, seconds: int) -> Figures:
    with visiting(browser, f"{base}/peer/charts?seconds={seconds}", READY) as visit:
        return visit.figures


def measure(base: str, runs: int) -> None:
    """Print a table: ours, the peer, the ratio."""
    pairs = {
        "systems": (ours_list, peer_list, (), ()),
        "system, 24 h": (ours_charts, peer_charts, ("24h",), (86400,)),
        "system, 30 d": (ours_charts, peer_charts, ("30d",), (30 * 86400,)),
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        print(f"{'':<32}{'ours':>10}{'peer':>10}{'ratio':>8}", flush=True)
        for title, (ours, peer, our_options, peer_options) in pairs.items():
            ours(browser, base, *our_options)  # what the server works out once
            peer(browser, base, *peer_options)
            found = [
                (ours(browser, base, *our_options), peer(browser, base, *peer_options)) for _ in range(runs)
            ]
            for name in found[0][0]:
                mine, other = (statistics.median(run[n][name] for run in found) for n in (0, 1))
                line = f"{f'{title}: {name}':<32}{mine:>10,.0f}{other:>10,.0f}{mine / other:>8.2f}"
                print(line, flush=True)
        browser.close()


def plotly(folder: str) -> Path:
    """plotly.js out of its wheel."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, "plotly>=6"]
    subprocess.run(pip, check=True)
    return Path(folder, "plotly", "package_data", "plotly.min.js")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("systems", 2000), ("days", 30), ("runs", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, PostgresServer() as server:
        with psycopg.connect(server.url()) as connection:
            migrate(connection)
            connection.commit()
            campus.build(connection, systems=chosen.systems, detailed=1, hours=24 * chosen.days)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("LABMON_")}
        command = [sys.executable, "-m", "tests.bench.dashboard_peers", server.url(), str(plotly(folder))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as process:
            try:
                measure(f"http://127.0.0.1:{int(process.stdout.readline())}", chosen.runs)
            finally:
                process.terminate()


if __name__ == "__main__":
    main()
