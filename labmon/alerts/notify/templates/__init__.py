"""The texts of notifications: Jinja2 in a sandbox.

built-in.j2   title, text and html of what labmon sends
render        one template with its values; and what is wrong with a template, with the line
process       the same in a process of its own with little time and memory, for templates of other people
"""
