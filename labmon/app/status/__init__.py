"""How everything is: what `labmon status` shows, and which of it is wrong.

report   what was found, as programs get it
read     asks the database, the broker and the spool, each in bounded time
judge    the rules: what is a warning, what is critical, and the line that says so first
"""
