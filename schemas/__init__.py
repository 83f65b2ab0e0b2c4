"""The contract: event types, JSON Schemas, golden samples and upcasters.

Everything Loopline says or hears has its shape fixed here. This room knows nothing of how events move or
where they are kept: it imports no other room, does no I/O beyond its own files, and is the ground floor.
"""
