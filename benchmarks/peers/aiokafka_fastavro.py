"""The plain loop on aiokafka: transactional micro-batches of 2,000, fastavro for each record.

One producer and one transaction at a time for each partition, the partitions side by side: while one waits for its
commit, the other computes.
"""

import asyncio
import signal
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.peers.scoring import Job, Scorer

BATCH = 2_000


async def copy_partition(job: Job, scorer: Scorer, number: int) -> None:
    """Score one partition, for ever."""
    place = TopicPartition(job.samples, number)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=job.bootstrap_servers,
        group_id=f"{job.group}-{number}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=4_000_000,  # several batches in each fetch
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=job.bootstrap_servers,
        transactional_id=f"{job.group}-{number}",
        max_batch_size=1_000_000,  # the 2,000 go out as one
        retry_backoff_ms=5,  # 100, the default, is waited for at the start of most transactions
    )
    await consumer.start()
    await producer.start()
    consumer.assign([place])
    try:
        while True:
            for messages in (await consumer.getmany(timeout_ms=500, max_records=BATCH)).values():
                made = scorer.batch(number, [(message.offset, message.value) for message in messages])
                async with producer.transaction():
                    await producer.send_offsets_to_transaction({place: messages[-1].offset + 1}, consumer._group_id)  # noqa: SLF001
                    batch = producer.create_batch()
                    for message, value in zip(messages, made, strict=True):
                        if value is not None and not batch.append(key=message.key, value=value, timestamp=None):
                            await producer.send_batch(batch, job.predictions, partition=number)
                            batch = producer.create_batch()
                            batch.append(key=message.key, value=value, timestamp=None)
                    await producer.send_batch(batch, job.predictions, partition=number)
    finally:
        await consumer.stop()
        await producer.stop()


async def main() -> None:
    """All partitions until SIGTERM."""
    job = Job.of_arguments()
    scorer = Scorer(job)
    tasks = [asyncio.create_task(copy_partition(job, scorer, number)) for number in range(job.partitions)]
    for task in tasks:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: [task.cancel() for task in tasks])
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks)


if __name__ == "__main__":
    asyncio.run(main())
