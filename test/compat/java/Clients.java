import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;
import java.util.concurrent.locks.LockSupport;
import java.util.function.LongConsumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * The Java client with its default settings. Records come from and go to text files, a record a line, fields separated by
 * tabs, bytes in hexadecimal, null as "-": partition, offset, timestamp type, timestamp, key, value, header=value...
 */
final class Clients {
    private static final HexFormat HEX = HexFormat.of();
    private static final long CONSUME_NANOS_MAX = Duration.ofSeconds(60).toNanos();

    private Clients() { }

    private static Properties properties(JsonNode command) {
        Properties p = new Properties();
        p.put("bootstrap.servers", command.get("bootstrap").asText());
        JsonNode more = command.get("properties");
        if (more != null) {
            for (Map.Entry<String, JsonNode> e : more.properties()) {
                p.put(e.getKey(), e.getValue().asText());
            }
        }
        return p;
    }

    private static byte[] bytes(String field) {
        return field.equals("-") ? null : HEX.parseHex(field);
    }

    private static String field(byte[] bytes) {
        return bytes == null ? "-" : HEX.formatHex(bytes);
    }

    static long produce(JsonNode command) throws Exception {
        String topic = command.get("topic").asText();
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        List<Integer> partitions = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer =
                 new KafkaProducer<>(properties(command), new ByteArraySerializer(), new ByteArraySerializer());
             BufferedReader in = Files.newBufferedReader(Path.of(command.get("file").asText()))) {
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                String[] f = line.split("\t", -1);
                List<Header> headers = new ArrayList<>();
                for (int i = 6; i < f.length; i++) {
                    int at = f[i].indexOf('=');
                    headers.add(new RecordHeader(new String(HEX.parseHex(f[i].substring(0, at)), StandardCharsets.UTF_8),
                        bytes(f[i].substring(at + 1))));
                }
                int partition = Integer.parseInt(f[0]);
                partitions.add(partition);
                sent.add(producer.send(
                    new ProducerRecord<>(topic, partition, Long.parseLong(f[3]), bytes(f[4]), bytes(f[5]), headers)));
            }
        }
        checkOffsets(sent, partitions);
        return sent.size();
    }

    /** The offsets that the broker answers count up within each partition. */
    private static void checkOffsets(List<Future<RecordMetadata>> sent, List<Integer> partitions) throws Exception {
        Map<Integer, Long> next = new java.util.HashMap<>();
        for (int i = 0; i < sent.size(); i++) {
            RecordMetadata m = sent.get(i).get();
            Long expected = next.get(partitions.get(i));
            if (m.partition() != partitions.get(i) || expected != null && m.offset() != expected) {
                throw new IllegalStateException("record " + i + " was acknowledged as " + m + ", expected offset " + expected);
            }
            next.put(m.partition(), m.offset() + 1);
        }
    }

    private static List<TopicPartition> partitionsOf(KafkaConsumer<byte[], byte[]> consumer, String topic) {
        List<TopicPartition> partitions = new ArrayList<>();
        for (PartitionInfo p : consumer.partitionsFor(topic)) {
            partitions.add(new TopicPartition(topic, p.partition()));
        }
        return partitions;
    }

    static long consume(JsonNode command) throws Exception {
        long count = 0;
        try (KafkaConsumer<byte[], byte[]> consumer =
                 new KafkaConsumer<>(properties(command), new ByteArrayDeserializer(), new ByteArrayDeserializer());
             BufferedWriter out = Files.newBufferedWriter(Path.of(command.get("file").asText()))) {
            List<TopicPartition> partitions = partitionsOf(consumer, command.get("topic").asText());
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> end = consumer.endOffsets(partitions);
            long deadline = System.nanoTime() + CONSUME_NANOS_MAX;
            while (!partitions.stream().allMatch(p -> consumer.position(p) >= end.get(p))) {
                if (System.nanoTime() - deadline > 0) {
                    throw new IllegalStateException("after " + count + " records no end in sight, ends are " + end);
                }
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(500))) {
                    write(out, r);
                    count++;
                }
            }
        }
        return count;
    }

    private static void write(BufferedWriter out, ConsumerRecord<byte[], byte[]> r) throws Exception {
        StringBuilder line = new StringBuilder();
        line.append(r.partition()).append('\t').append(r.offset()).append('\t').append(r.timestampType()).append('\t')
            .append(r.timestamp()).append('\t').append(field(r.key())).append('\t').append(field(r.value()));
        for (Header h : r.headers()) {
            line.append('\t').append(field(h.key().getBytes(StandardCharsets.UTF_8))).append('=').append(field(h.value()));
        }
        out.append(line).append('\n');
    }

    /** An idempotent producer at a steady pace: record i is "i", to partition i modulo the partitions. */
    static long stream(JsonNode command, LongConsumer progress) throws Exception {
        String topic = command.get("topic").asText();
        int partitions = command.get("partitions").asInt();
        long count = command.get("count").asLong();
        long perSecond = command.get("perSecond").asLong();
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        List<Integer> partitionOf = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer =
                 new KafkaProducer<>(properties(command), new ByteArraySerializer(), new ByteArraySerializer())) {
            for (long i = 0; i < count; i++) {
                partitionOf.add((int) (i % partitions));
                sent.add(producer.send(new ProducerRecord<>(topic, (int) (i % partitions), null,
                    Long.toString(i).getBytes(StandardCharsets.UTF_8))));
                if (i % 100 == 99) {
                    progress.accept(i + 1);
                    LockSupport.parkNanos(100 * 1_000_000_000L / perSecond);
                }
            }
        }
        checkOffsets(sent, partitionOf);
        return count;
    }
}
