"""Spark reads a topic as a table and counts distinct values: batch.py BOOTSTRAP INPUT JARS."""
import sys

from pyspark.sql import SparkSession

bootstrap, source, jars = sys.argv[1:]
spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.jars", jars)
    .config("spark.driver.memory", "512m")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
table = spark.read.format("kafka").option("kafka.bootstrap.servers", bootstrap).option("subscribe", source).load()
print("DISTINCT", table.select("value").distinct().count(), flush=True)
