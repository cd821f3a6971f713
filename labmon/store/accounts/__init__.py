"""Who may use the dashboard: users, their sessions and tokens, and the record of what they changed."""
