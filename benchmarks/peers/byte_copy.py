"""The ceiling: librdkafka copies the bytes of the samples. Nothing is decoded, nothing scored, no transaction."""

import signal

from confluent_kafka import Consumer, Producer

from benchmarks.peers.scoring import Job

BATCH = 10_000


def main() -> None:
    """Run until SIGTERM."""
    job = Job.of_arguments()
    consumer = Consumer(
        {
            "bootstrap.servers": job.bootstrap_servers,
            "group.id": job.group,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "fetch.queue.backoff.ms": 1,  # by default it rests for a second whenever 100,000 records wait
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": job.bootstrap_servers,
            "linger.ms": 5,
            "batch.num.messages": BATCH,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    consumer.subscribe([job.samples])
    going = True

    def stop(*_signal: object) -> None:
        nonlocal going
        going = False

    signal.signal(signal.SIGTERM, stop)
    while going:
        for message in consumer.consume(BATCH, 0.1):
            while True:
                try:
                    producer.produce(job.predictions, message.value(), message.key(), message.partition())
                    break
                except BufferError:
                    producer.poll(0.05)
        producer.poll(0)
    producer.flush(10)
    consumer.close()


if __name__ == "__main__":
    main()
