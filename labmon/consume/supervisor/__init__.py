"""Several worker processes: started, watched, scaled, replaced, drained.

supervisor    keeps the processes running
process       one of them, seen from the supervisor
heartbeat     how the two communicate
worker_main   the main program of a worker process
autoscale     when a queue gets another worker, and when it loses one
"""
