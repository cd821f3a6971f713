"""Alerts: what the rules find in the readings, and what becomes of it.

    metrics ──trigger──► incidents ──► outbox ──relay──► alert_queue ──► deliveries ──► people
    tick ────────────────────┘ ▲
    people: acknowledge, silence, maintenance

The rules are evaluated in the database (store/migrations/0012 to 0015), in the transaction that stores a
reading or in the tick, so nothing is missed and nothing is told that was not stored. Whoever is to be told of
an alert stands in the database from the transaction that stores it until the target has taken it.
"""
