"""Who is logged in, and the users, for admins."""
