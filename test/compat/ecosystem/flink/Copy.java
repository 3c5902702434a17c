import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/** Flink's local cluster copies a topic into another: Copy BOOTSTRAP INPUT OUTPUT GROUP CHECKPOINTS [CHECKPOINT to start from]. */
public final class Copy {
    public static void main(String[] args) throws Exception {
        Configuration config = new Configuration();
        config.setString("execution.checkpointing.interval", "500 ms");
        config.setString("execution.checkpointing.mode", "AT_LEAST_ONCE");
        config.setString("execution.checkpointing.dir", "file://" + args[4]);
        config.setString("execution.checkpointing.externalized-checkpoint-retention", "RETAIN_ON_CANCELLATION");
        config.setString("execution.checkpointing.num-retained", "3");
        config.setString("execution.checkpointing.tolerable-failed-checkpoints", "1000");
        config.setString("state.backend.type", "hashmap");
        config.setString("restart-strategy.type", "fixed-delay");
        config.setString("restart-strategy.fixed-delay.attempts", "100");
        config.setString("restart-strategy.fixed-delay.delay", "1 s");
        config.setString("taskmanager.memory.network.min", "16mb");
        config.setString("taskmanager.memory.network.max", "16mb");
        config.setString("taskmanager.memory.managed.size", "16mb");
        config.setString("parallelism.default", "2");
        if (args.length > 5) {
            config.setString("execution.state-recovery.path", "file://" + args[5]);
        }
        StreamExecutionEnvironment env = StreamExecutionEnvironment.createLocalEnvironment(2, config);
        KafkaSource<String> source = KafkaSource.<String>builder()
            .setBootstrapServers(args[0]).setTopics(args[1]).setGroupId(args[3])
            .setStartingOffsets(OffsetsInitializer.earliest())
            .setValueOnlyDeserializer(new SimpleStringSchema())
            .build();
        KafkaSink<String> sink = KafkaSink.<String>builder()
            .setBootstrapServers(args[0])
            .setDeliveryGuarantee(DeliveryGuarantee.AT_LEAST_ONCE)
            .setRecordSerializer(KafkaRecordSerializationSchema.builder().setTopic(args[2]).setValueSerializationSchema(new SimpleStringSchema()).build())
            .build();
        env.fromSource(source, WatermarkStrategy.noWatermarks(), "in").uid("in")
            .map(line -> "flink " + line).returns(String.class).uid("map")
            .sinkTo(sink).uid("out");
        System.out.println("STREAMING");
        env.execute("copy");
    }
}
