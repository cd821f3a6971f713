"""`labmon alerts` and `labmon maintenance`.

incidents    list, history, show, ack, silence; the group `alerts`
rules        alerts rules: list, add, set, remove, import, export
deliveries   alerts deliveries: notifications and their failures
template     alerts template: show and check the texts of notifications
dry_run      alerts test: which targets would be notified
maintenance  planned maintenance, closing hours and silences
"""
