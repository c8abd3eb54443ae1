"""Quix Streams with ``processing_guarantee="exactly-once"``: one function in a streaming data frame."""

from typing import Any

from quixstreams import Application, message_context

from benchmarks.peers.scoring import Job, Scorer, now_ms


def main() -> None:
    """Run until SIGTERM."""
    job = Job.of_arguments()
    scorer = Scorer(job)
    app = Application(
        broker_address=job.bootstrap_servers,
        consumer_group=job.group,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=1.0,  # a transaction a second; with 5, the default, outputs are seen seconds later
        auto_create_topics=False,
        use_changelog_topics=False,  # there is no state
        state_dir=job.folder,
        loglevel="WARNING",
        # librdkafka's defaults fetch and send well; the polling of both is what costs, and cannot be set
        producer_extra_config={"linger.ms": 20, "batch.num.messages": 10_000},
    )
    samples = app.topic(job.samples, key_deserializer="bytes", value_deserializer="bytes")
    predictions = app.topic(job.predictions, key_serializer="bytes", value_serializer="bytes")

    def predict(sample: dict[str, Any]) -> bytes:
        values, scores = scorer.score([sample["features"]])
        place = message_context()
        return scorer.encode(sample, place.partition, place.offset, values[0], scores[0], now_ms())

    frame = app.dataframe(samples).apply(scorer.decode)  # bytes and fastavro: half the cost of its AvroDeserializer
    frame = frame.filter(lambda sample: sample["kind"] == "EVENT").apply(predict)
    frame.to_topic(predictions)
    app.run()


if __name__ == "__main__":
    main()
