"""Packets as bytes: `arp_frame`, `ndp_frame` (neighbour discovery), `echo` (ping). No I/O."""
