"""Sending notifications: what they say, and the senders (webhook, Apprise)."""
