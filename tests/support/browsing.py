"""Pages in Chromium, and whatever goes wrong in them."""

import os
import shutil
from contextlib import contextmanager

from tests.support.dashboard import PASSWORD

CHROMIUM = os.environ.get("LABMON_CHROMIUM") or shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--disable-dev-shm-usage",
]


class Browsing:
    """Contexts of a browser. `faults`: errors on the console, exceptions, requests to elsewhere."""

    def __init__(self, browser):
        self.browser = browser
        self.faults = []

    @contextmanager
    def page(self, url, user=None, **options):
        """A page of a context of its own, logged in as `user` if there is one."""
        settings = {"base_url": url, "locale": "en-GB", "timezone_id": "UTC"} | options
        context = self.browser.new_context(**settings)
        context.set_default_timeout(20_000)
        context.route(lambda asked: not asked.startswith(url), self._refuse)
        context.on("page", self._watch)
        try:
            if user:
                answer = context.request.post("/login", form={"name": user, "password": PASSWORD})
                assert answer.ok, answer.text()
            yield context.new_page()
        finally:
            context.close()

    def _refuse(self, route):
        self.faults.append(f"a request to {route.request.url}")
        route.abort()

    def _watch(self, page):
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda line: self.faults.append(line.text) if line.type == "error" else None)

    def forgive(self, *words):
        """Take back what a test brings about itself, such as a server that is away."""
        self.faults = [one for one in self.faults if not any(word in one for word in words)]
