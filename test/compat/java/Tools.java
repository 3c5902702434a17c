import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.utils.Exit;

/** Runs the main methods of Kafka's command line tools in this JVM and catches what they print and how they exit. */
final class Tools {
    private static final Capture OUT = new Capture();
    private static final Capture ERR = new Capture();

    private Tools() { }

    /** The first exit code of the running tool; some catch the exception that stands for exit, and exit again. */
    private static Integer exitCode;

    private static final class ExitException extends RuntimeException {
        private static final long serialVersionUID = 1L;

        ExitException(int code) {
            super("exit " + code, null, false, false);
            if (exitCode == null) {
                exitCode = code;
            }
        }
    }

    private static final class Capture extends OutputStream {
        private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

        @Override
        public synchronized void write(int b) {
            bytes.write(b);
        }

        @Override
        public synchronized void write(byte[] b, int off, int len) {
            bytes.write(b, off, len);
        }

        synchronized String take() {
            String s = bytes.toString(StandardCharsets.UTF_8);
            bytes.reset();
            return s;
        }
    }

    /** Once, before any tool's class is loaded: Scala's console keeps the stream it first sees. */
    static void captureOutput() {
        System.setOut(new PrintStream(OUT, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(ERR, true, StandardCharsets.UTF_8));
        Exit.setExitProcedure((code, message) -> {
            throw new ExitException(code);
        });
        Exit.setHaltProcedure((code, message) -> {
            throw new ExitException(code);
        });
    }

    static void run(JsonNode command, ObjectNode answer) throws Exception {
        List<String> args = new ArrayList<>();
        command.get("args").forEach(a -> args.add(a.asText()));
        OUT.take();
        ERR.take();
        exitCode = null;
        try {
            Class<?> tool = Class.forName(command.get("class").asText());
            tool.getMethod("main", String[].class).invoke(null, (Object) args.toArray(new String[0]));
        } catch (InvocationTargetException e) {
            Throwable cause = e.getCause();
            if (exitCode == null) {
                exitCode = 1;
                cause.printStackTrace();
            }
        }
        System.out.flush();
        System.err.flush();
        answer.put("exit", exitCode == null ? 0 : exitCode);
        answer.put("stdout", OUT.take());
        answer.put("stderr", ERR.take());
    }
}
