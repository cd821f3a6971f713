"""Draw examples/dashboard/*.png: the dashboard in Chromium over the campus of `tests.support.campus`."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from playwright.sync_api import sync_playwright

from labmon.store.migrate import migrate
from tests.support import campus
from tests.support.browsing import ARGUMENTS, CHROMIUM, Browsing
from tests.support.dashboard import LABMON, Dashboard, add_user
from tests.support.servers import PostgresServer

PICTURES = Path(__file__).parents[2] / "examples/dashboard"
SIZE = {"width": 1280, "height": 800}
PAGES = [  # name, path, color scheme
    ("overview", "/", "light"),
    ("systems", "/systems", "light"),
    ("system", "/systems/5", "dark"),
    ("lab", "/labs/1", "light"),
    ("queues", "/queues", "dark"),
]
SETTLED_MS = 2500
"""Milliseconds in which a page has loaded its data and drawn it."""

QUEUES = """
INSERT INTO queue_history (queue, at, ready, in_flight, dead, out_per_second)
SELECT queue, to_timestamp(floor(extract(epoch FROM now()) / 30) * 30) - n * interval '30 seconds',
       CASE queue WHEN 'metrics_queue'
                  THEN 300 + 250 * sin(n / 90.0) + 6000 * exp(-power((n - 300) / 60.0, 2))
                  WHEN 'discovery_queue' THEN 40 * greatest(sin(n / 200.0), 0) ELSE 3 END,
       CASE queue WHEN 'metrics_queue' THEN 200 ELSE 0 END, 0,
       CASE queue WHEN 'metrics_queue' THEN 33 + 9 * sin(n / 70.0) ELSE 0.4 END
FROM unnest('{metrics_queue,discovery_queue,alert_queue}'::text[]) AS queue, generate_series(1, 720) AS n
"""


def fill(url: str, environ: dict[str, str]) -> None:
    """A campus in which nobody attacks the page, and six hours of its queues."""
    with psycopg.connect(url) as connection:
        campus.build(connection, systems=400, labs=10)
        connection.execute("UPDATE systems SET hostname = 'eng-101-pc04' WHERE system_id = 4")
        connection.execute("UPDATE systems SET first_seen = now() - interval '26 hours'")
        connection.execute(QUEUES)
    subprocess.run([LABMON, "setup-queues", "--quiet"], env=environ, check=True)


@contextmanager
def workers(environ: dict[str, str]) -> Iterator[None]:
    """`labmon consume`, while the block runs."""
    command = subprocess.Popen([LABMON, "consume", "--quiet"], env=environ, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        command.terminate()
        command.wait()


def main() -> None:
    """Start a server, look at each page, write the pictures."""
    PICTURES.mkdir(exist_ok=True)
    with PostgresServer() as server, server.database() as name:
        url = server.url(name)
        with psycopg.connect(url) as connection:
            migrate(connection)
        dashboard = Dashboard(url)
        fill(url, dashboard.environ)
        add_user(url, "admin", "admin")
        with dashboard, workers(dashboard.environ), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            browsing = Browsing(browser)
            for picture, path, scheme in PAGES:
                with browsing.page(dashboard.url, "admin", viewport=SIZE, color_scheme=scheme) as page:
                    page.goto(path)
                    page.wait_for_timeout(SETTLED_MS)
                    page.screenshot(path=PICTURES / f"{picture}.png")
            browser.close()
            if browsing.faults:
                sys.exit("\n".join(browsing.faults))


if __name__ == "__main__":
    main()
