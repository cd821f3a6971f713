"""The script that measures a machine, and the pure parser of what it prints.

`script` is probe.sh (probe.ps1 for Windows) as it travels; `output` cuts what came back; `linux`, `darwin`
and `windows` read it into a `snapshot`, with `programs`, `disks` and `temperature` for what needs more than a
line; `counters` makes rates; `parse` is the way in.
"""
