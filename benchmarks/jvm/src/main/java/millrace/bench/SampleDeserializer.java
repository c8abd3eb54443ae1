package millrace.bench;

import java.io.IOException;
import java.nio.ByteBuffer;
import org.apache.avro.Schema;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.util.Utf8;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.serialization.Deserializer;

/** Reads samples as far as the features; what follows them is not needed, and so not read. */
final class SampleDeserializer implements Deserializer<Sample> {
    private static final float[] NONE = {};

    private final int event;
    private final int width;

    SampleDeserializer(Options options) {
        Schema schema = Wire.schema(
                options.sampleSchema(), "kind", "event_id", "entity", "time_ms", "feature_set", "features");
        event = schema.getField("kind").schema().getEnumOrdinal("EVENT");
        width = options.features();
    }

    @Override
    public Sample deserialize(String topic, byte[] data) {
        return read(data, 0, data.length);
    }

    /** Reads from the fetched batch itself, without a copy of the record. */
    @Override
    public Sample deserialize(String topic, Headers headers, ByteBuffer data) {
        if (!data.hasArray()) {
            return Deserializer.super.deserialize(topic, headers, data);
        }
        return read(data.array(), data.arrayOffset() + data.position(), data.remaining());
    }

    private Sample read(byte[] bytes, int start, int length) {
        if (length < Wire.HEADER_BYTES || bytes[start] != Wire.MAGIC) {
            throw new SerializationException("not in the Confluent wire format");
        }
        int body = start + Wire.HEADER_BYTES;
        BinaryDecoder decoder = DecoderFactory.get().binaryDecoder(bytes, body, length - Wire.HEADER_BYTES, null);
        try {
            boolean isEvent = decoder.readEnum() == event;
            Utf8 eventId = decoder.readString(null);
            Utf8 entity = decoder.readString(null);
            long timeMs = decoder.readLong();
            decoder.skipString();
            return new Sample(isEvent, eventId, entity, timeMs, isEvent ? features(decoder) : NONE);
        } catch (IOException error) {
            throw new SerializationException(error);
        }
    }

    private float[] features(BinaryDecoder decoder) throws IOException {
        float[] features = new float[width];
        int at = 0;
        for (long count = decoder.readArrayStart(); count > 0; count = decoder.arrayNext()) {
            for (long i = 0; i < count; i++) {
                features[at++] = (float) decoder.readDouble();
            }
        }
        if (at != width) {
            throw new SerializationException(at + " features, " + width + " are needed");
        }
        return features;
    }
}
