"""What is asked of the store: the newest readings, a machine's past, who is highest, how departments do."""
