"""What people do with systems: take them out, let them in, change, merge and remove them.

steps    what was done, so that it can be undone: the columns before and after
states   retired, ignored, in quarantine, and back
merge    two numbers of one machine, and split: apart again
remove   a system with all that is known of it

Each function works in the caller's transaction. `labmon.app.inventory.life` writes the audit.
"""
