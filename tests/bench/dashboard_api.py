"""The dashboard's API beside the same list as HTML made by the server: p50 and p95, memory, time to start.

    python -m tests.bench.dashboard_api [--systems 2000] [--days 30] [--database URL]

The campus is that of `tests.bench.campus`. `labmon dashboard` runs by itself, and its clients are logged in;
the peer, who renders a list in answer to every question, is a process of its own.
"""

import contextlib
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import psutil
import psycopg

from labmon.store.metrics.rollup import METRICS
from tests.bench import campus
from tests.support.dashboard import Dashboard, add_user

PEER = """
import contextlib, socket, sys
from jinja2 import Environment
from labmon.config.load import load
from labmon.app.open import open_store
from labmon.dashboard.context import Context
from labmon.dashboard.live.systems import SystemsReader
from labmon.store.inventory.states import COLUMNS
from labmon.dashboard.live.shared import Shared
import uvicorn
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

PAGE = Environment(autoescape=True).from_string('''<!doctype html><table><tr>{% for column in columns %}<th>{{
column }}</th>{% endfor %}</tr>{% for row in rows %}<tr id="s{{ row[0] }}">{% for value in row %}<td>{{
"" if value is none else value }}</td>{% endfor %}</tr>{% endfor %}</table>''')
config = load(environ={"LABMON_DATABASE_URL": sys.argv[1]}).config
listener = socket.create_server(("127.0.0.1", 0))
listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
with open_store(config) as store:
    systems = Shared(SystemsReader(Context(config, store)), 2)

    def html(request):
        return HTMLResponse(PAGE.render(columns=COLUMNS, rows=systems.get().systems))

    print(listener.getsockname()[1], flush=True)
    settings = uvicorn.Config(Starlette(routes=[Route("/html", html)]), log_level="error")
    uvicorn.Server(settings).run([listener])
"""


class Client:
    """One connection that stays open."""

    def __init__(self, port: int, cookie: str = "") -> None:
        self._headers = {"accept-encoding": "gzip", "cookie": cookie}
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def get(self, path: str) -> bytes:
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (path, answer.status, body[:300])
        return body


class Cpu:
    """CPU time of a server and of the database's processes, which other work does not change."""

    def __init__(self, server: int, connection: psycopg.Connection) -> None:
        self.server = psutil.Process(server)
        self._postmaster = psutil.Process(connection.info.backend_pid).parent()

    def used(self) -> tuple[float, float]:
        """Seconds of the server, and of the database."""
        times = self.server.cpu_times()
        database = 0.0
        for child in self._postmaster.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                database += sum(child.cpu_times()[:2])
        return times.user + times.system, database

    @property
    def megabytes(self) -> float:
        """That the server has in memory."""
        return self.server.memory_info().rss / 2**20


def timed(ask: Callable[[], object]) -> float:
    begun = time.perf_counter()
    ask()
    return 1000 * (time.perf_counter() - begun)


def line(name: str, cpu: Cpu, run: Callable[[], list[float]], note: str = "") -> None:
    before = cpu.used()
    took = sorted(run())
    server, database = (1000 * (b - a) / len(took) for a, b in zip(before, cpu.used(), strict=True))
    p95 = took[int(0.95 * len(took))]
    print(
        f"{name:<40} p50 {statistics.median(took):7.1f} ms  p95 {p95:7.1f} ms  CPU {server:5.1f} ms, "
        f"database {database:5.1f} ms  {note}",
        flush=True,
    )


def together(clients: list[Client], path: str) -> list[float]:
    with ThreadPoolExecutor(len(clients)) as pool:
        found = pool.map(lambda one: [timed(lambda: one.get(path)) for _ in range(10)], clients)
        return [one for row in found for one in row]


def measure(port: int, cookie: str, cpu: Cpu, systems: int) -> None:
    client, now = Client(port, cookie), time.time()

    def asked(paths: list[str], pause: float = 0.0) -> Callable[[], list[float]]:
        return lambda: [(time.sleep(pause), timed(lambda path=path: client.get(path)))[1] for path in paths]

    for path, times in (("/api/v1/systems", 100), ("/api/v1/summary", 60)):
        note = f"{len(client.get(path)):,} B"
        line(f"GET {path}, every 50 ms", cpu, asked([path] * times, 0.05), note)
    for name, days in (("1 h", 1 / 24), ("24 h", 1), ("7 d", 7), ("30 d", 30)):
        for metrics in (METRICS[:1], METRICS):
            query = f"metrics={','.join(metrics)}&from={now - days * 86400:.0f}&to={now:.0f}"
            paths = [f"/api/v1/systems/{1 + n * 761 % systems}/series?{query}" for n in range(60)]
            note = f"{len(client.get(paths[0])):,} B"
            line(f"series of {len(metrics)}, {name}", cpu, asked(paths), note)
    for days in (1, 30):
        paths = [f"/api/v1/systems/{1 + n * 761 % systems}/availability?days={days}" for n in range(60)]
        line(f"availability, {days} d", cpu, asked(paths))
    clients = [Client(port, cookie) for _ in range(50)]
    line("50 clients at once, /api/v1/systems", cpu, lambda: together(clients, "/api/v1/systems"))
    day = f"/api/v1/systems/7/series?from={now - 86400:.0f}&to={now:.0f}"
    line("50 clients at once, 24 h series of 3", cpu, lambda: together(clients, day))


def reloads(port: int, cookie: str, cpu: Cpu) -> None:
    """What a browser loads with each page, and what the page asks for, a hundred times."""
    client = Client(port, cookie)
    chart = f"metrics={','.join(METRICS)}&from={time.time() - 86400:.0f}&to={time.time():.0f}"
    data = {
        "/": ["/api/v1/summary"],
        "/systems": ["/api/v1/systems"],
        "/systems/7": ["/api/v1/systems/7", f"/api/v1/systems/7/series?{chart}"],
    }
    seen = []
    for n in range(101):
        for page, paths in data.items():
            static = re.findall(r'(?:src|href)="(/static/[^"]+)"', client.get(page).decode())
            for path in chain(static, paths):
                client.get(path)
        if n in (1, 50, 100):
            seen.append(f"{cpu.megabytes:.0f} MB after {n}")
    print(f"{'reloads of three pages':<40} {', '.join(seen)}", flush=True)


def listeners(port: int, cookie: str, process: psutil.Process, connection: psycopg.Connection) -> None:
    """100 streams for 20 s, while 66 systems are measured every 2 s."""
    streams = [http.client.HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(100)]
    answers = []
    for stream in streams:
        stream.request("GET", "/api/v1/stream", headers={"cookie": cookie})
        answers.append(stream.getresponse())
    received = [0]

    def read(answer: http.client.HTTPResponse) -> None:
        while data := answer.read1(65536):
            received[0] += len(data)

    for answer in answers:
        threading.Thread(target=read, args=[answer], daemon=True).start()
    time.sleep(4)
    before, begun, bytes_before = process.cpu_times(), time.perf_counter(), received[0]
    for n in range(10):
        connection.execute(
            "INSERT INTO metrics (system_id, collected_at, cpu_percent, logged_in_users) "
            "SELECT system_id, now(), random() * 100, 0 FROM systems WHERE system_id %% 30 = %s",
            [n],
        )
        connection.execute("UPDATE systems SET last_collected = now() WHERE system_id %% 30 = %s", [n])
        connection.commit()
        time.sleep(2)
    took, after = time.perf_counter() - begun, process.cpu_times()
    share = 100 * (after.user + after.system - before.user - before.system) / took
    rate = (received[0] - bytes_before) / took / 100 / 1024
    print(f"{'100 live clients':<44} {share:.1f} % of a core, {rate:.1f} KiB/s each", flush=True)


@contextlib.contextmanager
def peer(url: str) -> Iterator[tuple[int, int]]:
    """The pid and port of the server of HTML."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LABMON_")}
    with subprocess.Popen(
        [sys.executable, "-c", PEER, url], stdout=subprocess.PIPE, text=True, env=environ
    ) as process:
        try:
            yield process.pid, json.loads(process.stdout.readline())
        finally:
            process.terminate()


def main() -> None:
    with campus.filled(campus.options(__doc__).parse_args()) as (connection, url):
        (systems,) = connection.execute("SELECT count(*) FROM systems").fetchone()
        connection.execute("DELETE FROM users")
        connection.commit()
        add_user(url, "bench")
        with Dashboard(url) as dashboard:
            began = []
            for _ in range(3):
                dashboard.stop()
                began.append(timed(dashboard.start))
            used = sum(psutil.Process(dashboard.process.pid).cpu_times()[:2])
            print(f"{'ready':<40} {min(began):.0f} ms, CPU {1000 * used:.0f} ms", flush=True)
            with dashboard.logged_in("bench") as browser:
                cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
            cpu = Cpu(dashboard.process.pid, connection)
            print(f"{'memory at the start':<40} {cpu.megabytes:.0f} MB", flush=True)
            reloads(dashboard.port, cookie, cpu)
            measure(dashboard.port, cookie, cpu, systems)
            listeners(dashboard.port, cookie, cpu.server, connection)
            print(f"{'memory at the end':<40} {cpu.megabytes:.0f} MB", flush=True)
        with peer(url) as (pid, port):
            html, cpu = Client(port), Cpu(pid, connection)
            line("the list as HTML", cpu, lambda: [timed(lambda: html.get("/html")) for _ in range(40)])
            clients = [Client(port) for _ in range(50)]
            line("50 clients at once, the list as HTML", cpu, lambda: together(clients, "/html"))


if __name__ == "__main__":
    main()
