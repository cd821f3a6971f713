"""Storing messages: the only way by which they get into the database.

handlers   one per queue: stores a batch of bodies, and says why it rejects some
settings   the tables of the configuration that the handlers read
replay     events through the handlers again
"""
