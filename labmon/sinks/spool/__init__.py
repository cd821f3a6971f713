"""Messages that could not be sent, kept on disk in order until they can."""
