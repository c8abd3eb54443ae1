package millrace.bench;

import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.ContextualFixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;

/** Kafka Streams with exactly_once_v2: each event is scored by a call of its own, as Streams hands it over. */
final class StreamsPeer {
    private final Options options;
    private final CountDownLatch stopped = new CountDownLatch(1);
    private boolean said;

    StreamsPeer(Options options) {
        this.options = options;
    }

    void run() throws InterruptedException {
        var streams = new KafkaStreams(topology(), settings());
        streams.setStateListener((now, before) -> changed(now));
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        Main.onTerm(streams::close);
        streams.start();
        stopped.await();
        if (streams.state() == KafkaStreams.State.ERROR) {
            System.exit(1);
        }
    }

    private synchronized void changed(KafkaStreams.State now) {
        if (now == KafkaStreams.State.RUNNING && !said) {
            said = true;
            Main.ready();
        } else if (now == KafkaStreams.State.ERROR || now == KafkaStreams.State.NOT_RUNNING) {
            stopped.countDown();
        }
    }

    private Topology topology() {
        Serde<Sample> sample = Serdes.serdeFrom((topic, value) -> null, new SampleDeserializer(options));
        Serde<Prediction> prediction = Serdes.serdeFrom(new PredictionSerializer(options), (topic, value) -> null);
        var builder = new StreamsBuilder();
        builder.stream(options.samples(), Consumed.with(Serdes.ByteArray(), sample))
                .filter((key, value) -> value.event())
                .processValues(Score::new)
                .to(options.predictions(), Produced.with(Serdes.ByteArray(), prediction));
        return builder.build();
    }

    private Properties settings() {
        var settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, options.group());
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, options.bootstrapServers());
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, options.threads());
        // Streams' own 100 ms between commits under exactly-once stays: it is what a reader waits for at most, and the
        // other peers' transactions are as long when they are behind. A poll brings as much as the loop's, and a
        // partition holds as much before it is paused; Streams stops at 1,000 of either.
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), options.batch());
        settings.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, options.batch());
        settings.put(
                StreamsConfig.consumerPrefix(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG),
                Main.PARTITION_FETCH_BYTES);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), Main.PRODUCE_BATCH_BYTES);
        return settings;
    }

    /** Scores one event a call. */
    private final class Score extends ContextualFixedKeyProcessor<byte[], Sample, Prediction> {
        private final Scorer scorer = new Scorer(options, 1);

        @Override
        public void process(FixedKeyRecord<byte[], Sample> record) {
            var place = context().recordMetadata().orElseThrow();
            scorer.put(0, record.value().features());
            scorer.score(1);
            var prediction = new Prediction(
                    record.value(), place.partition(), place.offset(), scorer.klass(0), scorer.scores(0),
                    System.currentTimeMillis());
            context().forward(record.withValue(prediction).withHeaders(new RecordHeaders()));
        }

        @Override
        public void close() {
            scorer.close();
        }
    }
}
