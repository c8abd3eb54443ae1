"""The five services. Each is a process of its own; they know one another only through topics and schemas."""
