import common
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

POLL_MS = 1000


def produce(topic, first, end):
    producer = KafkaProducer(bootstrap_servers=common.BOOTSTRAP)
    futures = [producer.send(topic, common.value(i), common.key(i), headers=common.header(i)) for i in range(first, end)]
    producer.flush()
    for f in futures:
        f.get(timeout=120)
    producer.close()


def show(batches):
    seen = 0
    for records in batches.values():
        for r in records:
            common.record(r.partition, r.offset, r.key, r.value)
            seen += 1
    return seen


def assign(topic, n):
    consumer = KafkaConsumer(bootstrap_servers=common.BOOTSTRAP)
    consumer.assign([TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic)])
    consumer.seek_to_beginning()
    seen, silence = 0, common.Silence()
    while seen < n and not silence.over():
        got = show(consumer.poll(POLL_MS))
        if got:
            silence.heard()
            seen += got
    consumer.close()
    return common.incomplete(seen, n)


def on_commit(offsets, response):
    if isinstance(response, Exception):
        common.note("commit:", repr(response))
        return
    for tp, o in offsets.items():
        common.committed(tp.partition, o.offset)


def group(topic, group_id, n):
    stop = common.Stop()
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=common.BOOTSTRAP,
        group_id=group_id,
        auto_offset_reset="earliest",
        default_offset_commit_callback=on_commit,
    )
    seen = 0
    while seen < n and not stop:
        try:
            seen += show(consumer.poll(POLL_MS))
        except KafkaError as e:
            if not e.retriable:
                raise
            common.note("poll:", repr(e))
    code = 1
    for _ in range(common.FINAL_COMMIT_ATTEMPTS):
        positions = {tp.partition: consumer.position(tp, timeout_ms=1000) for tp in consumer.assignment()}
        try:
            consumer.commit()
        except KafkaError as e:
            common.note("final commit:", repr(e))
            show(consumer.poll(POLL_MS))
            continue
        for partition, offset in positions.items():
            if offset is not None:
                common.committed(partition, offset)
        code = 0
        break
    consumer.close()
    return code


common.main(produce, assign, group)
