import common
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

POLL_SECONDS = 0.2


def client(**more):
    config = {"bootstrap.servers": common.BOOTSTRAP, "error_cb": lambda e: common.note("error:", e)}
    config.update({k.replace("_", "."): v for k, v in more.items()})
    return config


def produce(topic, first, end):
    failed = []

    def delivered(err, _msg):
        if err:
            failed.append(err)

    producer = Producer(client())
    for i in range(first, end):
        while True:
            try:
                producer.produce(topic, common.value(i), common.key(i), headers=common.header(i), on_delivery=delivered)
                break
            except BufferError:
                producer.poll(POLL_SECONDS)
    left = producer.flush()
    if failed or left:
        common.note("%d failed, %d left:" % (len(failed), left), *failed[:1])
        return 1


def assign(topic, n):
    consumer = Consumer(client(group_id="assign-" + topic, enable_auto_commit=False))
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
    seen, silence = 0, common.Silence()
    while seen < n and not silence.over():
        msg = consumer.poll(POLL_SECONDS)
        if msg is None:
            continue
        if msg.error():
            common.note("error:", msg.error())
            continue
        silence.heard()
        seen += 1
        common.record(msg.partition(), msg.offset(), msg.key(), msg.value())
    consumer.close()
    return common.incomplete(seen, n)


def on_commit(err, partitions):
    if err:
        common.note("commit:", err)
        return
    for p in partitions:
        if p.error:
            common.note("commit:", p.error)
        elif p.offset >= 0:
            common.committed(p.partition, p.offset)


def group(topic, group_id, n):
    stop = common.Stop()
    config = client(group_id=group_id, auto_offset_reset="earliest")
    config["on_commit"] = on_commit
    if common.GROUP_PROTOCOL:
        config["group.protocol"] = common.GROUP_PROTOCOL
    consumer = Consumer(config)
    consumer.subscribe(
        [topic],
        on_assign=lambda _, ps: common.note("assigned", [p.partition for p in ps]),
        on_revoke=lambda _, ps: common.note("revoked", [p.partition for p in ps]),
        on_lost=lambda _, ps: common.note("lost", [p.partition for p in ps]),
    )
    seen = 0

    def poll():
        msg = consumer.poll(POLL_SECONDS)
        if msg is None:
            return 0
        if msg.error():
            common.note("error:", msg.error())
            if msg.error().fatal():
                raise KafkaException(msg.error())
            return 0
        common.record(msg.partition(), msg.offset(), msg.key(), msg.value())
        return 1

    while seen < n and not stop:
        seen += poll()
    code = 1
    for _ in range(common.FINAL_COMMIT_ATTEMPTS):
        try:
            consumer.commit(asynchronous=False)  # on_commit prints it
            code = 0
            break
        except KafkaException as e:
            if e.args[0].code() == KafkaError._NO_OFFSET:
                code = 0
                break
            common.note("final commit:", e)
            poll()
    consumer.close()
    return code


common.main(produce, assign, group)
