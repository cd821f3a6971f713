"""`labmon scan`: `scan` is the command, `view` shows machines while they are found and what changed."""
