"""The pages: HTML shells, which a module of static/pages fills."""
