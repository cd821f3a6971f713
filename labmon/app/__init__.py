"""The use cases behind the commands: what a command does, without options and without printing.

    scan  collect  inventory  queues  doctor  check_config
      └──────┴────────┴──────┬──┴────────┘
              alerts ──► fleet, scope, address_lock ──► open

`open` is the one place that opens the store, the broker and the sink; `fleet` chooses the machines that are
measured. Long work yields events or takes a callback, and results are dataclasses, with their tables' columns
beside them; `cli` draws both.
"""
