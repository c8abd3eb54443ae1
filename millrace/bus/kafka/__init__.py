"""The transport on Kafka, through aiokafka. Only this package imports aiokafka.

What aiokafka 0.14 does not give, and how it is had all the same:

- It sends no group metadata with transactional offsets (aiokafka#844), so the group cannot fence a zombie. The
  transactional id does: one for each partition number, and initialising it fences whoever had it before.
- Its consumer reads committed offsets *before* the new owner can have fenced the old one. So the consumer that is a
  member of the group fetches nothing: it only says which numbers are ours. Each partition is read by a consumer of
  its own, assigned and sought by hand once the committed positions are settled. That also keeps one partition's unread
  records from holding back the fetches of all others (one fetch is in flight to a broker at a time, per consumer).
- It swallows what a rebalance listener raises: it is caught here and raised by ``failure`` and ``fetch``.
- Its admin client returns nothing, without an error, for a group whose coordinator is still loading. Taken for "no
  commit yet" that would begin again at the start, so a partition missing from the answer is an error here.
- A batch that fails does not fail the commit after it: every batch is awaited before the commit is sent.
"""

from millrace.bus.kafka.settings import KafkaSettings
from millrace.bus.kafka.transport import KafkaTransport

__all__ = ["KafkaSettings", "KafkaTransport"]
