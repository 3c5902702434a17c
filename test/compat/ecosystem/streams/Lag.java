import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;

/** Waits until a group has committed the end of every partition of topics: Lag BOOTSTRAP GROUP SECONDS TOPIC... */
public final class Lag {
    public static void main(String[] args) throws Exception {
        long end = System.nanoTime() + Long.parseLong(args[2]) * 1_000_000_000L;
        Set<String> topics = new HashSet<>();
        for (int i = 3; i < args.length; i++) {
            topics.add(args[i]);
        }
        String why = "";
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", args[0]))) {
            while (System.nanoTime() < end) {
                try {
                    why = lag(admin, args[1], topics);
                } catch (java.util.concurrent.ExecutionException e) {
                    why = e.getCause().toString();
                }
                if (why.isEmpty()) {
                    return;
                }
                Thread.sleep(300);
            }
        }
        System.out.println("not committed: " + why);
        System.exit(1);
    }

    private static String lag(Admin admin, String group, Set<String> topics) throws Exception {
        Map<TopicPartition, OffsetSpec> ask = new HashMap<>();
        admin.describeTopics(topics).allTopicNames().get().forEach((name, topic) ->
            topic.partitions().forEach(p -> ask.put(new TopicPartition(name, p.partition()), OffsetSpec.latest())));
        Map<TopicPartition, OffsetAndMetadata> committed = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        StringBuilder why = new StringBuilder();
        for (Map.Entry<TopicPartition, ListOffsetsResultInfo> e : admin.listOffsets(ask).all().get().entrySet()) {
            OffsetAndMetadata at = committed.get(e.getKey());
            if (e.getValue().offset() > (at == null ? 0 : at.offset())) {
                why.append(e.getKey()).append(" at ").append(at == null ? "none" : at.offset()).append(" of ").append(e.getValue().offset()).append(' ');
            }
        }
        return why.toString();
    }
}
