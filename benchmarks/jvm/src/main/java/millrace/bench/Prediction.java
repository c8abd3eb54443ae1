package millrace.bench;

/** A sample, its place in the log, and what the model said of it. */
record Prediction(Sample sample, int partition, long offset, int klass, double[] scores, long predictedAtMs) {}
