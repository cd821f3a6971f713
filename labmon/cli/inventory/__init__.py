"""The commands about systems, labs, departments and metrics.

systems      list, set, history, show; the group `systems`
trust        systems trust: changed host keys
labs, departments
metrics      latest, range, top, summary
"""
