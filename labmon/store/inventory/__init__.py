"""Departments, labs, systems, and what happened to them."""
