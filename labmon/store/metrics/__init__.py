"""Readings: recorded, rolled up, packed, dropped, and read back."""
