"""The dashboard with the pages beside it that `tests.bench.dashboard_pages` compares it with.

    python -m tests.bench.dashboard_peers DATABASE_URL PLOTLY_JS

Prints its port. Anyone on this machine may read it; for a database without users only.
"""

import json
import socket
import sys

from jinja2 import Environment
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import FileResponse, HTMLResponse
from starlette.routing import Route

from labmon.app.open import open_store
from labmon.config.load import load
from labmon.dashboard import app, server
from labmon.dashboard.context import Context
from labmon.dashboard.pages.static import content_hash
from labmon.store.inventory.states import COLUMNS

ROWS = """\
{% for row in rows %}<tr id="s{{ row[0] }}">{% for value in row %}<td>{% if loop.index == 2 -%}
<a href="/systems/{{ row[0] }}">{{ value }}</a>{% elif loop.index == 7 -%}
<span class="badge s-{{ value }}">{{ value }}</span>{% else %}{{ "" if value is none else value }}{% endif -%}
</td>{% endfor %}</tr>{% endfor %}"""

LIST = (
    """<!doctype html><meta charset="utf-8"><title>peer</title><style>
table { border-collapse: collapse; font: 14px system-ui }
td, th { padding: 4px 8px; white-space: nowrap }
tr + tr { border-top: 1px solid #ddd }
</style><input id="filter"><table><thead><tr>
{% for name in columns %}<th data-sort="{{ name }}">{{ name }}</th>{% endfor %}</tr></thead><tbody>"""
    + ROWS
    + """</tbody></table><script>
const ask = async (query) => {
  document.querySelector("tbody").innerHTML = await (await fetch("/peer/rows?" + query)).text();
};
filter.oninput = () => ask("q=" + encodeURIComponent(filter.value));
document.querySelector("thead").onclick = (event) => ask("sort=" + event.target.dataset.sort);
window.ready = true;
</script>"""
)

CHARTS = """<!doctype html><meta charset="utf-8"><title>peer</title><style>
#all { display: grid; gap: 16px; grid-template-columns: 1fr 1fr }
</style><div id="all"></div><script src="/peer/plotly.js"></script><script type="module">
const { PLANS, METRICS, seriesOf } = await import({{ static }} + "/pages/system-charts.js");
const range = "&from={{ begin }}&to={{ end }}&metrics=" + METRICS.join(",");
const answer = await (await fetch("/api/v1/systems/1/series?points=570" + range)).json();
const x = answer.t.map((t) => new Date(t * 1000));
const line = { x, type: "scatter", mode: "lines" };
for (const plan of PLANS) {
  const traces = seriesOf(plan, answer).flatMap(({ name, avg, max }) => [
    { ...line, y: max, name, line: { width: 0 }, showlegend: false },
    { ...line, y: avg, name, fill: "tonexty", line: { width: 1.5 } },
  ]);
  if (!traces.length) continue;
  const box = document.createElement("div");
  all.append(box);
  const margin = { t: 32, b: 24, l: 48, r: 8 };
  await Plotly.newPlot(box, traces, { height: 220, title: { text: plan.title }, margin });
}
window.ready = true;
</script>"""

TEMPLATES = Environment(autoescape=True)


def peers(context: Context, plotly: str) -> Starlette:
    """A list as HTML of the server, its rows again for each filter or sort, and charts by plotly."""

    def rows(request):
        query = request.query_params
        words = query.get("q", "").lower().split()
        found = [
            row
            for row in context.live.systems.get().systems
            if all(word in " ".join(map(str, row)).lower() for word in words)
        ]
        if name := query.get("sort"):
            place = COLUMNS.index(name)
            found.sort(key=lambda row: (row[place] is None, row[place] or 0))
        return found

    def page(template, **values):
        return HTMLResponse(TEMPLATES.from_string(template).render(**values))

    def charts(request):
        end = int(context.now().timestamp())
        begin = end - int(request.query_params["seconds"])
        static = json.dumps(f"/static/{content_hash()}")
        return HTMLResponse(Environment().from_string(CHARTS).render(begin=begin, end=end, static=static))

    return Starlette(
        middleware=[Middleware(GZipMiddleware, compresslevel=5)],
        routes=[
            Route("/peer/systems", lambda asked: page(LIST, rows=rows(asked), columns=COLUMNS)),
            Route("/peer/rows", lambda asked: page(ROWS, rows=rows(asked))),
            Route("/peer/charts", charts),
            Route("/peer/plotly.js", lambda _: FileResponse(plotly)),
        ],
    )


def main() -> None:
    url, plotly = sys.argv[1:]
    build = app.Dashboard.build_middleware_stack

    def with_peers(self):
        ours, theirs = build(self), peers(self.state.context, plotly)

        async def chosen(scope, receive, send):
            is_peer = scope.get("path", "").startswith("/peer/")
            await (theirs if is_peer else ours)(scope, receive, send)

        return chosen

    app.Dashboard.build_middleware_stack = with_peers
    listener = socket.create_server(("127.0.0.1", 0))
    config = load(environ={"LABMON_DATABASE_URL": url}).config
    with open_store(config) as store:
        context = Context(config, store, is_own=lambda _: True)
        server.serve(context, listener, lambda: print(listener.getsockname()[1], flush=True))


if __name__ == "__main__":
    main()
