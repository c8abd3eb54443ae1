package millrace.bench;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.EncoderFactory;
import org.apache.avro.util.Utf8;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.serialization.Serializer;

/** Writes predictions: the fields and values that Millrace's serving writes. */
final class PredictionSerializer implements Serializer<Prediction> {
    private static final Utf8 VARIANT = new Utf8("champion");
    private static final int SIZE = 256; // of most predictions, so that the buffer need not grow

    private final byte[] header;
    private final String place;
    private final Utf8 model;
    private final int version;
    private final long epoch;
    private final List<Utf8> classes;
    private final int named;

    PredictionSerializer(Options options) {
        var schema = Wire.schema(
                options.predictionSchema(), "prediction_id", "event_id", "entity", "model", "version", "variant",
                "epoch", "value", "label", "scores", "event_time_ms", "predicted_at_ms", "sample_partition",
                "sample_offset");
        header = ByteBuffer.allocate(Wire.HEADER_BYTES).put(Wire.MAGIC).putInt(options.schemaId()).array();
        place = options.model() + "/" + options.samples() + "/";
        model = new Utf8(options.model());
        version = options.version();
        epoch = options.epoch();
        classes = options.classes().stream().map(Utf8::new).toList();
        named = schema.getField("label").schema().getIndexNamed("string");
    }

    @Override
    public byte[] serialize(String topic, Prediction prediction) {
        var out = new ByteArrayOutputStream(SIZE);
        out.writeBytes(header);
        try {
            write(prediction, EncoderFactory.get().directBinaryEncoder(out, null));
        } catch (IOException error) {
            throw new SerializationException(error);
        }
        return out.toByteArray();
    }

    private void write(Prediction prediction, BinaryEncoder encoder) throws IOException {
        encoder.writeString(place + prediction.partition() + "/" + prediction.offset());
        encoder.writeString(prediction.sample().eventId());
        encoder.writeString(prediction.sample().entity());
        encoder.writeString(model);
        encoder.writeInt(version);
        encoder.writeString(VARIANT);
        encoder.writeLong(epoch);
        encoder.writeDouble(prediction.klass());
        encoder.writeIndex(named);
        encoder.writeString(classes.get(prediction.klass()));
        encoder.writeArrayStart();
        encoder.setItemCount(prediction.scores().length);
        for (double score : prediction.scores()) {
            encoder.startItem();
            encoder.writeDouble(score);
        }
        encoder.writeArrayEnd();
        encoder.writeLong(prediction.sample().timeMs());
        encoder.writeLong(prediction.predictedAtMs());
        encoder.writeInt(prediction.partition());
        encoder.writeLong(prediction.offset());
    }
}
