"""The queue in a PostgreSQL database: SKIP LOCKED with a lease.

broker    what callers use; schema.sql: its tables and functions
consumer  claiming, and settling by the lease
session   connections, errors, notifications
conninfo  the address of its database, from `[queue]`
"""
