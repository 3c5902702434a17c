import java.time.Duration;
import java.util.List;
import java.util.Properties;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** What kafka-consumer-perf-test measures, with assigned partitions instead of a group. */
public final class AssignedConsumerPerf {
    public static void main(String[] args) {
        String bootstrap = args[0], topic = args[1];
        long want = Long.parseLong(args[2]);
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("key.deserializer", ByteArrayDeserializer.class.getName());
        p.put("value.deserializer", ByteArrayDeserializer.class.getName());
        p.put("auto.offset.reset", "earliest");
        p.put("receive.buffer.bytes", "2097152");
        p.put("max.partition.fetch.bytes", "1048576");
        try (KafkaConsumer<byte[], byte[]> c = new KafkaConsumer<>(p)) {
            List<TopicPartition> parts = c.partitionsFor(topic).stream()
                .map(i -> new TopicPartition(topic, i.partition())).collect(Collectors.toList());
            c.assign(parts);
            c.seekToBeginning(parts);
            long records = 0, bytes = 0, start = System.nanoTime(), idleSince = start;
            while (records < want && System.nanoTime() - idleSince < 30_000_000_000L) {
                for (ConsumerRecord<byte[], byte[]> r : c.poll(Duration.ofMillis(1000))) {
                    records++;
                    bytes += r.serializedValueSize() + Math.max(0, r.serializedKeySize());
                    idleSince = System.nanoTime();
                }
            }
            double seconds = (System.nanoTime() - start) / 1e9;
            if (records < want) {
                System.err.printf("only %d of %d records%n", records, want);
                System.exit(1);
            }
            System.out.printf("%d records consumed, %.1f records/sec (%.2f MB/sec)%n", records, records / seconds, bytes / seconds / 1048576);
        }
    }
}
