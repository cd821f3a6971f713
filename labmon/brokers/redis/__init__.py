"""The queue on Redis: streams with one consumer group.

broker       what callers use
consumer     receiving and settling; reclaim: what others hold and should not
connection   address, login, what errors mean; durability: what the server may lose
permissions  what an account needs
entries      keys, and the fields of an entry
scripts/     Lua, loaded by name
"""
