"""The pictures of the README and of the examples, drawn from the running program: `make pictures`."""
