"""What may be said on the bus: topics, events, their wire format, and the model project that names them."""
