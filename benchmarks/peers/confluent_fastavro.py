"""The plain loop on confluent-kafka: transactional micro-batches of 2,000, fastavro for each record."""

import signal

from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.peers.scoring import Job, Scorer

BATCH = 2_000


def main() -> None:
    """Run until SIGTERM."""
    job = Job.of_arguments()
    scorer = Scorer(job)
    consumer = Consumer(
        {
            "bootstrap.servers": job.bootstrap_servers,
            "group.id": job.group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": job.bootstrap_servers,
            "transactional.id": job.group,
            "linger.ms": 5,
            "batch.num.messages": BATCH,
            "batch.size": 1_000_000,  # the 2,000 go out as one for each partition
        }
    )
    producer.init_transactions()
    consumer.subscribe([job.samples])
    going = True

    def stop(*_signal: object) -> None:
        nonlocal going
        going = False

    signal.signal(signal.SIGTERM, stop)
    while going:
        messages = consumer.consume(BATCH, 0.5)
        if not messages:
            continue
        by_partition: dict[int, list] = {}
        for message in messages:
            if message.error():
                raise RuntimeError(message.error())
            by_partition.setdefault(message.partition(), []).append(message)
        producer.begin_transaction()
        for number, mine in by_partition.items():
            made = scorer.batch(number, [(message.offset(), message.value()) for message in mine])
            for message, value in zip(mine, made, strict=True):
                if value is not None:
                    producer.produce(job.predictions, value, message.key(), number)
        offsets = [TopicPartition(job.samples, number, mine[-1].offset() + 1) for number, mine in by_partition.items()]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
        producer.commit_transaction()
    consumer.close()


if __name__ == "__main__":
    main()
