package millrace.bench;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** A loop over consumer and producer: one micro-batch, one call of the model, one transaction. */
final class LoopPeer {
    private final Options options;
    private final Scorer scorer;
    private final KafkaConsumer<byte[], Sample> consumer;
    private final KafkaProducer<byte[], Prediction> producer;
    private volatile boolean running = true;

    LoopPeer(Options options) {
        this.options = options;
        scorer = new Scorer(options, options.batch());
        consumer = new KafkaConsumer<>(
                consumerSettings(), new ByteArrayDeserializer(), new SampleDeserializer(options));
        producer = new KafkaProducer<>(
                producerSettings(), new ByteArraySerializer(), new PredictionSerializer(options));
    }

    void run() {
        var stopped = new CountDownLatch(1);
        Main.onTerm(() -> {
            running = false;
            await(stopped);
        });
        try (consumer; producer; scorer) {
            producer.initTransactions();
            consumer.subscribe(List.of(options.samples()), new Ready());
            while (running) {
                var records = consumer.poll(Duration.ofMillis(100));
                if (!records.isEmpty()) {
                    take(records);
                }
            }
        } finally {
            stopped.countDown();
        }
    }

    /** The predictions of a micro-batch and the offset after it, in one transaction; an error ends the process. */
    private void take(ConsumerRecords<byte[], Sample> records) {
        List<ConsumerRecord<byte[], Sample>> events = new ArrayList<>(records.count());
        for (var record : records) {
            if (record.value().event()) {
                scorer.put(events.size(), record.value().features());
                events.add(record);
            }
        }
        if (!events.isEmpty()) {
            scorer.score(events.size());
        }
        producer.beginTransaction();
        long now = System.currentTimeMillis();
        for (int row = 0; row < events.size(); row++) {
            var record = events.get(row);
            var prediction = new Prediction(
                    record.value(), record.partition(), record.offset(), scorer.klass(row), scorer.scores(row), now);
            producer.send(new ProducerRecord<>(options.predictions(), record.key(), prediction));
        }
        producer.sendOffsetsToTransaction(records.nextOffsets(), consumer.groupMetadata());
        producer.commitTransaction();
    }

    private Properties consumerSettings() {
        var settings = new Properties();
        settings.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, options.bootstrapServers());
        settings.put(ConsumerConfig.GROUP_ID_CONFIG, options.group());
        settings.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false);
        settings.put(ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed");
        settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        settings.put(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, options.batch());
        settings.put(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG, Main.PARTITION_FETCH_BYTES);
        return settings;
    }

    private Properties producerSettings() {
        var settings = new Properties();
        settings.put(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, options.bootstrapServers());
        settings.put(ProducerConfig.TRANSACTIONAL_ID_CONFIG, options.group() + "-" + ProcessHandle.current().pid());
        settings.put(ProducerConfig.BATCH_SIZE_CONFIG, Main.PRODUCE_BATCH_BYTES);
        return settings;
    }

    private static void await(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }

    /** Says ready at the first assignment. */
    private static final class Ready implements ConsumerRebalanceListener {
        private boolean said;

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            if (!said && !partitions.isEmpty()) {
                Main.ready();
                said = true;
            }
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            // between two transactions nothing is open
        }
    }
}
