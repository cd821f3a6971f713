"""Workers, queues, dead letters and the spool."""
