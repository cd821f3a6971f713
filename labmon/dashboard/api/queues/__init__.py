"""The queues, and what could not be stored."""
