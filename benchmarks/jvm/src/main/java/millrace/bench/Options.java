package millrace.bench;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The command line: {@code --name=value} for each component, names with hyphens. Every one is needed. */
record Options(
        String bootstrapServers, String group, String samples, String predictions, Path modelFile, int features,
        Path sampleSchema, Path predictionSchema, int schemaId, String model, int version, long epoch,
        List<String> classes, int batch, int threads) {

    static Options parse(String[] args) {
        Map<String, String> given = new HashMap<>();
        for (int i = 1; i < args.length; i++) {
            String[] pair = args[i].split("=", 2);
            given.put(pair[0], pair[1]);
        }
        return new Options(
                given.get("--bootstrap-servers"), given.get("--group"), given.get("--samples"),
                given.get("--predictions"), Path.of(given.get("--model-file")), number(given, "--features"),
                Path.of(given.get("--sample-schema")), Path.of(given.get("--prediction-schema")),
                number(given, "--schema-id"), given.get("--model"), number(given, "--version"),
                Long.parseLong(given.get("--epoch")), List.of(given.get("--classes").split(",")),
                number(given, "--batch"), number(given, "--threads"));
    }

    private static int number(Map<String, String> given, String name) {
        return Integer.parseInt(given.get(name));
    }
}
