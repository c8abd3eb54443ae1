"""A Faust agent as the documentation's first page has it: one event at a time, at least once."""

import sys

import faust

from benchmarks.peers.scoring import Job, Scorer, now_ms

job = Job.of_arguments()
scorer = Scorer(job)
app = faust.App(
    job.group,
    broker=f"kafka://{job.bootstrap_servers}",
    value_serializer="raw",
    key_serializer="raw",
    consumer_auto_offset_reset="earliest",
    topic_disable_leader=True,  # no leader election through a topic of its own
    topic_allow_declare=False,
    datadir=job.folder,
    stream_wait_empty=False,
    producer_linger=5,  # milliseconds: lets the producer fill its batches
    web_enabled=False,
)
samples = app.topic(job.samples, value_type=bytes)
predictions = app.topic(job.predictions, value_type=bytes)


@app.agent(samples)
async def predict(stream: faust.Stream) -> None:
    """Score each sample as it comes."""
    async for event in stream.events():
        sample = scorer.decode(event.value)
        if sample["kind"] == "EVENT":
            values, scores = scorer.score([sample["features"]])
            message = event.message
            value = scorer.encode(sample, message.partition, message.offset, values[0], scores[0], now_ms())
            await predictions.send(key=event.key, value=value, partition=message.partition)


if __name__ == "__main__":
    sys.argv = [sys.argv[0], "worker", "--loglevel=warn", "--without-web"]
    app.main()
