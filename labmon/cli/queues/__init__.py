"""The commands about queues, workers, dead letters, events and the spool."""
