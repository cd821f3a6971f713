"""The addresses to ask, from what an administrator types. No network.

`address` turns addresses into numbers, `target_set` networks and ranges into spans of numbers, `files` reads
@FILE.
"""
