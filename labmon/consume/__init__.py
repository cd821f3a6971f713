"""Workers that store messages from the queues, and the background tasks of their process.

    worker            the loop for one queue: receive, store, acknowledge; retries, dead letters, outages
    worker_threads    the workers of one process, a thread for each queue
    supervisor/       several worker processes: started, watched, scaled, replaced, drained
    background        tasks beside the workers, each in a thread that is repeated at an interval
    alert_evaluator   evaluates the alert rules that no reading triggers, publishes and notifies
    queue_depths      how many messages wait, for the supervisor and the rules
    worker_stats      the workers as rows: for the screen and for the table `workers`
    spool_report      tells the database how full this machine's spool is
    backlog           how full the queues are, judged by the configured thresholds

`labmon.app.queues.consume` puts them together.
"""
