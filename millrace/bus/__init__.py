"""How events are carried: the transport, its Kafka and its in-memory form, and the loops that run on it."""
