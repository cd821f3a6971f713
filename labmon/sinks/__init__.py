"""Where scan and collect send messages: a queue or the database, and while that is away the spool.

base       the interface `Sink`, the sink of a dry run, and which queue a message belongs to
buffered   the one state machine: batches, outages, backoff, spool
queued     `QueueSink`: on top of it, publishes to the broker
direct     `DirectSink`: on top of it, hands the messages to the handlers of `labmon.ingest`
priority   whose messages are served first
spool/     the file that keeps what could not be delivered
"""
