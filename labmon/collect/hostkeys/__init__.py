"""Whether a machine is the one it was.

`policy` decides, over `pins`, which labmon keeps itself, and `known_hosts`, OpenSSH's files; `public_key`
tells a whole key from half a one.
"""
