"""Systems, labs, departments, metrics and the schema, as the commands and their tables need them."""
