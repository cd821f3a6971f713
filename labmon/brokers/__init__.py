"""Durable queues: `base` is the contract, the other modules keep it on one server each."""
