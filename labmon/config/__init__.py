"""The configuration: one TOML file, the environment and the command line on top of it.

    load ──► check ──► keys ──► tables/ ──► units
      └────► home ◄──────────────┘
    reference ► keys

Each table is a module of `tables` with its struct: type, default, bounds and comment of a key stand together,
and so do the checks that concern several keys of the table. `keys` reads the structs and knows every key by
its path; `reference` writes the sample file; `load` reads what the user wrote and `check` compares it with
the keys, all faults at once. Functions elsewhere take the table they read, such as `settings: QueueConfig`.
"""
