"""`labmon collect`: one run, the service with --every, keys and trust, and its rows."""
