"""A bounded number of threads that measure machines.

`workers` runs the jobs and keeps their deadlines, `dispatch_queue` says which machine is next, `descriptors`
how many connections this process may have.
"""
