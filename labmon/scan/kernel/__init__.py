"""Links, routes and neighbours of this machine, as Linux tells them, and its raw sockets.

`route` and `ipv6` read the routing tables, `links` sorts targets by them. `netlink` asks the kernel for what
/proc does not hold: `neighbours6` for MACs of IPv6, `neighbour_table` for the room that is left.
`link_socket` sends whole frames. `constants` are numbers that the socket module lacks.
"""
