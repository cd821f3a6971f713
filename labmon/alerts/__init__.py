"""Alerts: what the rules find in the readings, and what becomes of it.

    metrics ──trigger──► incidents ──► outbox ──relay──► alert_queue ──► who is to be told
    tick ────────────────────┘ ▲
    people: acknowledge, silence, maintenance

The rules are evaluated in the database (store/migrations/0012 to 0015), in the transaction that stores a
reading or in the tick, so nothing is missed and nothing is told that was not stored.
"""
