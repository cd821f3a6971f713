"""/api/v1: a folder for each subject, and in it a module for each kind of thing, with its `router`.

accounts/   who is logged in; users, tokens, the audit
fleet/      the overview, systems with their charts, what people do with them, labs, scans
alerts/     alerts, rules, maintenance
queues/     queues and dead letters
parameters, problems, document    what all requests, errors and descriptions share

To add a module: write it in its folder, and add it to `MODULES`. Its routes need a login whatever they say;
one that changes anything takes an `Operator` or `Admin` as well, and calls `caller.record` in the same
transaction. What goes wrong is raised: `Problem`, or the error of the function that found it: see `problems`.
"""

from importlib import import_module

MODULES = [
    import_module(f"{__name__}.{name}")
    for name in (
        "accounts.account",
        "accounts.admin",
        "alerts.alerts",
        "alerts.maintenance",
        "alerts.rules",
        "fleet.labs",
        "fleet.life",
        "fleet.scans",
        "fleet.series",
        "fleet.summary",
        "fleet.systems",
        "queues.dead_letters",
        "queues.queues",
        "stream",
    )
]
"""Those whose routes need a login."""
