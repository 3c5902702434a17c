"""Spark structured streaming from a topic to a topic: stream.py BOOTSTRAP INPUT OUTPUT CHECKPOINT JARS."""
import sys

from pyspark.sql import SparkSession

bootstrap, source, sink, checkpoint, jars = sys.argv[1:]
spark = (
    SparkSession.builder.master("local[2]")
    .appName("ecosystem")
    .config("spark.jars", jars)
    .config("spark.driver.memory", "512m")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.shuffle.partitions", "2")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("WARN")
read = (
    spark.readStream.format("kafka")
    .option("kafka.bootstrap.servers", bootstrap)
    .option("subscribe", source)
    .option("startingOffsets", "earliest")
    .option("maxOffsetsPerTrigger", 500)
    .load()
)
query = (
    read.selectExpr("key", "concat('spark ', cast(value as string)) as value")
    .writeStream.format("kafka")
    .option("kafka.bootstrap.servers", bootstrap)
    .option("topic", sink)
    .option("checkpointLocation", checkpoint)
    .trigger(processingTime="500 milliseconds")
    .start()
)
print("STREAMING", flush=True)
query.awaitTermination()
