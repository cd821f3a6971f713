"""The web pages of `labmon dashboard`: what the database and the queues hold, for many readers at once.

server      the event loop, and an end within two seconds with streams open
app         the application: middlewares, routers, pages, static files
pages/      one route for each page: an HTML shell, which a module of static/pages fills
api/        /api/v1: JSON, the names of the commands' `--format json`
live/       changes as they happen, for all who listen
accounts    users, sessions and tokens, for the API and for the commands
access      who asks, what they may do, and the record of what they did
security/   passwords, sessions, hosts, headers: what stands between a stranger and the rest
context     what routes are given: the store, the queues, the configuration
listen      the socket
web         what every route and page uses

Routes are plain functions, which the framework runs in threads: nothing here blocks its loop. What they do
is done by the functions that the commands call. Only `labmon dashboard` imports this package, since the web
framework takes half a second.
"""
