"""Alerts: what the rules find in the readings, and what becomes of it.

    metrics ──trigger──► incidents ──► outbox ──relay──► alert_queue ──► deliveries ──► people
    tick ────────────────────┘ ▲
    people: acknowledge, silence, maintenance

The rules are evaluated in the database (store/schema/functions), in the transaction that stores a
reading or in the tick, so nothing is missed and no notification is about a reading that was not stored. What
a target is to receive stands in the database from the transaction that stores the alert until the target has
taken it.
"""
