"""How fast, how often and how long to ask. No I/O.

`rate` limits packets per second, `retries` decides whether the silent are asked again, `timeout` how long
answers are waited for, and `loss` measures what gets lost and at which rate less would be.
"""
