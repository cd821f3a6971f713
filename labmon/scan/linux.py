"""Linux's numbers that the socket module lacks."""

SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33
SO_TIMESTAMPNS = 35
IP_RECVERR = 11
SOL_RAW = 255
ICMP_FILTER = 1
