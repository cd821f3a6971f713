"""`labmon scan`: what to ask, the scan itself, and its rows."""
