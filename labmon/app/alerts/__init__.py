"""Rules, incidents, deliveries and maintenance, as the commands and their tables need them."""
