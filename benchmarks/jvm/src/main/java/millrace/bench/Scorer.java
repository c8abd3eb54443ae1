package millrace.bench;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * A classifier in ONNX Runtime, for one thread. Input and outputs are tensors over buffers that are used again and
 * again: nothing is allocated or copied by a call with as many rows as the last.
 */
final class Scorer implements AutoCloseable {
    private static final OrtEnvironment ENVIRONMENT = OrtEnvironment.getEnvironment();

    private final OrtSession session;
    private final int width;
    private final int classes;
    private final String input;
    private final List<String> outputs;
    private final FloatBuffer features;
    private final LongBuffer labels;
    private final FloatBuffer scores;
    private int rows = -1;
    private Map<String, OnnxTensor> in = Map.of();
    private Map<String, OnnxTensor> out = Map.of();

    Scorer(Options options, int capacity) {
        try (var settings = new OrtSession.SessionOptions()) {
            settings.setIntraOpNumThreads(1); // as in Millrace's serving
            settings.setInterOpNumThreads(1);
            session = ENVIRONMENT.createSession(options.modelFile().toString(), settings);
        } catch (OrtException error) {
            throw new IllegalStateException(error);
        }
        width = options.features();
        classes = options.classes().size();
        input = session.getInputNames().iterator().next();
        outputs = List.copyOf(session.getOutputNames());
        features = buffer(capacity * width * Float.BYTES).asFloatBuffer();
        labels = buffer(capacity * Long.BYTES).asLongBuffer();
        scores = buffer(capacity * classes * Float.BYTES).asFloatBuffer();
    }

    /** Take a row for the next call. */
    void put(int row, float[] values) {
        features.put(row * width, values);
    }

    /** Score the first {@code count} rows. */
    void score(int count) {
        try {
            if (count != rows) {
                shape(count);
            }
            session.run(in, Set.of(), out).close();
        } catch (OrtException error) {
            throw new IllegalStateException(error);
        }
    }

    /** The predicted class of a row. */
    int klass(int row) {
        return (int) labels.get(row);
    }

    /** The probability of each class for a row. */
    double[] scores(int row) {
        double[] values = new double[classes];
        for (int i = 0; i < classes; i++) {
            values[i] = scores.get(row * classes + i);
        }
        return values;
    }

    @Override
    public void close() {
        release();
        try {
            session.close();
        } catch (OrtException error) {
            throw new IllegalStateException(error);
        }
    }

    private void shape(int count) throws OrtException {
        release();
        long[] shape = {count, width};
        in = Map.of(input, OnnxTensor.createTensor(ENVIRONMENT, features.slice(0, count * width), shape));
        out = Map.of(
                outputs.get(0),
                OnnxTensor.createTensor(ENVIRONMENT, labels.slice(0, count), new long[] {count}),
                outputs.get(1),
                OnnxTensor.createTensor(
                        ENVIRONMENT, scores.slice(0, count * classes), new long[] {count, classes}));
        rows = count;
    }

    private void release() {
        in.values().forEach(OnnxTensor::close);
        out.values().forEach(OnnxTensor::close);
    }

    private static ByteBuffer buffer(int bytes) {
        return ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
    }
}
