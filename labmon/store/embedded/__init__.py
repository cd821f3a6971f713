"""A PostgreSQL server of labmon's own, so that a fresh machine needs nothing installed or started.

`server` starts and stops it, `programs` finds what it is run with, `account` the account that runs it, and
`folders` keeps others out of where it lies.
"""

from labmon.store.embedded.server import Embedded, running_url

__all__ = ["Embedded", "running_url"]
