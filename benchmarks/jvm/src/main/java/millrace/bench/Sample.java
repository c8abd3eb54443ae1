package millrace.bench;

import org.apache.avro.util.Utf8;

/** What a prediction needs of a sample. Of a label only {@code event}, which is false, means anything. */
record Sample(boolean event, Utf8 eventId, Utf8 entity, long timeMs, float[] features) {}
