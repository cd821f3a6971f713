"""Reaching a machine over SSH. Only this package imports paramiko.

    connector ─► plan: where a machine is, which it has to be, the login, the bastion
        │          └─ config (~/.ssh/config: config_file, config_words, jump), login (keys, credentials),
        │             networks ([collect] allow)
        ├─► session: connect, check the host key, log in (auth), run
        │          └─ transport: paramiko with bounds, and all that is used of its private parts
        └─► bastion: one session that forwards for many machines

`authorized_key` writes the line that lets labmon in and permits nothing but measuring.
"""
