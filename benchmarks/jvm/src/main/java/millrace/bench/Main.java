package millrace.bench;

/** Runs the peer that the first argument names, with the options that follow, until SIGTERM. */
public final class Main {
    // Behind, a consumer should fetch a micro-batch at once (1 MiB unless set), and a producer send few large batches
    // instead of many of 16 KiB.
    static final int PARTITION_FETCH_BYTES = 8 << 20;
    static final int PRODUCE_BATCH_BYTES = 256 << 10;

    private Main() {}

    public static void main(String[] args) throws InterruptedException {
        var options = Options.parse(args);
        switch (args[0]) {
            case "kafka-streams" -> new StreamsPeer(options).run();
            case "jvm-loop" -> new LoopPeer(options).run();
            default -> throw new IllegalArgumentException("kafka-streams or jvm-loop, not " + args[0]);
        }
    }

    /** Tells the harness that consuming has begun. */
    static void ready() {
        System.out.println("ready");
    }

    /** Has {@code stop} run at SIGTERM; the process ends when it returns. */
    static void onTerm(Runnable stop) {
        Runtime.getRuntime().addShutdownHook(new Thread(stop, "on-term"));
    }
}
