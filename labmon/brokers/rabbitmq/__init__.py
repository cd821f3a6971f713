"""The queue on RabbitMQ: quorum queues, confirmed publishing, a thread for each connection.

broker        what callers use
consumer      receiving and settling; lane: one of its two queues, bounded by count and bytes
dead_letters  going through them, where to look is to take; queue_length: counts that can be believed
publisher     many messages at a time, each confirmed
policies      what setup-queues sets and says; management: the API for it
topology      exchanges, queues, bindings
connection    address, login, what errors mean; permissions: what an account needs
session       a connection and its thread; fast_frames: the private parts of pika
wire          messages as AMQP has them; headers: what other programs put in, bounded
"""
