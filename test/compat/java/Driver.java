import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/**
 * One JVM for the whole suite: reads a JSON command a line, answers a JSON line with the id of the command. Commands run
 * one after the other, but "stream", which answers at once, reports progress, and finishes on a thread of its own.
 */
public final class Driver {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final PrintStream ANSWERS = System.out;

    private Driver() { }

    public static void main(String[] args) throws Exception {
        Tools.captureOutput();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonNode command = JSON.readTree(line);
            long id = command.get("id").asLong();
            if (command.get("command").asText().equals("stream")) {
                Thread thread = new Thread(() -> run(id, command), "stream");
                thread.setDaemon(true);
                thread.start();
            } else {
                run(id, command);
            }
        }
        Runtime.getRuntime().halt(0); // the suite is gone: so are we, whatever a client still wants to retry
    }

    private static void run(long id, JsonNode command) {
        ObjectNode answer = JSON.createObjectNode();
        try {
            execute(id, command, answer);
        } catch (Throwable t) {
            answer.put("error", t.toString());
        }
        answer.put("id", id);
        answer.put("done", true);
        send(answer);
    }

    private static void execute(long id, JsonNode command, ObjectNode answer) throws Exception {
        String name = command.get("command").asText();
        switch (name) {
            case "produce" -> answer.put("records", Clients.produce(command));
            case "consume" -> answer.put("records", Clients.consume(command));
            case "stream" -> answer.put("records", Clients.stream(command, sent -> progress(id, sent)));
            case "tool" -> Tools.run(command, answer);
            default -> throw new IllegalArgumentException("unknown command " + name);
        }
    }

    private static void progress(long id, long sent) {
        ObjectNode event = JSON.createObjectNode();
        event.put("id", id);
        event.put("records", sent);
        send(event);
    }

    private static synchronized void send(ObjectNode answer) {
        ANSWERS.println(answer);
        ANSWERS.flush();
    }
}
