"""Alerts, their rules, and when they are muted."""
