"""`labmon status`: everything on one screen.

status   the command: once, or again and again
screen   the lines of the screen, cut to its height
"""
