"""Alerts: who is told of one, in which words, by which way, again and again until it arrived."""
