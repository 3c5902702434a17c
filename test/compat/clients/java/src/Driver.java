import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.ConsumerInterceptor;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** The driver of the Java client: ../README.md has the contract. It compiles against clients from 2.8 to today's. */
public final class Driver {
    private static final long SILENCE_NANOS = TimeUnit.SECONDS.toNanos(60);
    private static final Duration POLL = Duration.ofMillis(200);
    private static final long STOP_SECONDS = 30;
    private static final PrintStream OUT = new PrintStream(new java.io.FileOutputStream(java.io.FileDescriptor.out), false);

    private Driver() { }

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "produce" -> produce(args[1], Long.parseLong(args[2]), Long.parseLong(args[3]));
            case "assign" -> assign(args[1], Long.parseLong(args[2]));
            case "group" -> group(args[1], args[2], Long.parseLong(args[3]));
            default -> throw new IllegalArgumentException("unknown command " + args[0]);
        }
    }

    private static Properties properties() {
        Properties p = new Properties();
        p.put("bootstrap.servers", System.getenv("BOOTSTRAP"));
        return p;
    }

    private static void produce(String topic, long from, long to) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(properties(), new StringSerializer(), new StringSerializer())) {
            for (long i = from; i < to; i++) {
                StringBuilder value = new StringBuilder("v" + i + "-");
                for (int j = 0; j < 64; j++) {
                    value.append((char) ('a' + (i + j) % 26));
                }
                ProducerRecord<String, String> r = new ProducerRecord<>(topic, "k" + i, value.toString());
                r.headers().add("h", Long.toString(i).getBytes(StandardCharsets.UTF_8));
                sent.add(producer.send(r));
            }
            for (Future<RecordMetadata> f : sent) {
                f.get();
            }
        }
    }

    private static synchronized void print(String line) {
        OUT.print(line + "\n");
        OUT.flush();
    }

    private static void print(ConsumerRecord<String, String> r) {
        print(r.partition() + "\t" + r.offset() + "\t" + r.key() + "\t" + r.value());
    }

    private static void assign(String topic, long count) {
        Properties p = properties();
        p.put("auto.offset.reset", "earliest");
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(p, new StringDeserializer(), new StringDeserializer())) {
            List<TopicPartition> all = new ArrayList<>();
            for (PartitionInfo i : consumer.partitionsFor(topic)) {
                all.add(new TopicPartition(topic, i.partition()));
            }
            consumer.assign(all);
            long heard = System.nanoTime();
            for (long seen = 0; seen < count;) {
                for (ConsumerRecord<String, String> r : consumer.poll(POLL)) {
                    print(r);
                    seen++;
                    heard = System.nanoTime();
                }
                if (System.nanoTime() - heard > SILENCE_NANOS) {
                    throw new IllegalStateException("no record for 60 s");
                }
            }
        }
    }

    /** Tells of every acknowledged commit, the automatic ones too. */
    public static final class Committed implements ConsumerInterceptor<String, String> {
        @Override
        public ConsumerRecords<String, String> onConsume(ConsumerRecords<String, String> records) {
            return records;
        }

        @Override
        public void onCommit(Map<TopicPartition, OffsetAndMetadata> offsets) {
            offsets.forEach((p, o) -> print("committed\t" + p.partition() + "\t" + o.offset()));
        }

        @Override
        public void close() { }

        @Override
        public void configure(Map<String, ?> configs) { }
    }

    private static void group(String topic, String group, long count) {
        Properties p = properties();
        p.put("group.id", group);
        p.put("auto.offset.reset", "earliest");
        p.put("interceptor.classes", Committed.class.getName());
        String protocol = System.getenv("GROUP_PROTOCOL");
        if (protocol != null && !protocol.isEmpty()) {
            p.put("group.protocol", protocol);
        }
        CountDownLatch left = new CountDownLatch(1);
        KafkaConsumer<String, String> consumer = new KafkaConsumer<>(p, new StringDeserializer(), new StringDeserializer());
        Runtime.getRuntime().addShutdownHook(new Thread(() -> stop(consumer, left)));
        long seen = 0;
        try {
            consumer.subscribe(Collections.singletonList(topic));
            while (seen < count) {
                for (ConsumerRecord<String, String> r : consumer.poll(POLL)) {
                    print(r);
                    seen++;
                }
            }
        } catch (WakeupException e) {
            // SIGTERM
        }
        try {
            finish(consumer);
        } finally {
            left.countDown();
        }
    }

    private static void finish(KafkaConsumer<String, String> consumer) {
        for (;;) {
            try {
                consumer.commitSync();
                break;
            } catch (WakeupException e) {
                // once more without it
            } catch (RuntimeException e) {
                System.err.println("commit: " + e);
                break;
            }
        }
        consumer.close();
    }

    /** Keeps a JVM that got SIGTERM alive until the consumer has left, and lets it end with 0, not 143. */
    private static void stop(KafkaConsumer<String, String> consumer, CountDownLatch left) {
        boolean signal = left.getCount() > 0;
        consumer.wakeup();
        try {
            boolean done = left.await(STOP_SECONDS, TimeUnit.SECONDS);
            if (signal) {
                Runtime.getRuntime().halt(done ? 0 : 1);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
