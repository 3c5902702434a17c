import asyncio
import signal

import common
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import IllegalStateError, KafkaError

POLL_MS = 200


async def produce(topic, first, end):
    async with AIOKafkaProducer(bootstrap_servers=common.BOOTSTRAP) as producer:
        futures = [
            await producer.send(topic, common.value(i), common.key(i), headers=common.header(i))
            for i in range(first, end)
        ]
        await asyncio.gather(*futures)


def show(batches):
    seen = 0
    for records in batches.values():
        for r in records:
            common.record(r.partition, r.offset, r.key, r.value)
            seen += 1
    return seen


async def assign(topic, n):
    seen, silence = 0, common.Silence()
    # Without a group the client gives itself all partitions.
    async with AIOKafkaConsumer(
        topic, bootstrap_servers=common.BOOTSTRAP, auto_offset_reset="earliest"
    ) as consumer:
        while seen < n and not silence.over():
            got = show(await consumer.getmany(timeout_ms=POLL_MS))
            if got:
                silence.heard()
                seen += got
    return common.incomplete(seen, n)


async def group(topic, group_id, n):
    stop = asyncio.Event()
    for s in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(s, stop.set)
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=common.BOOTSTRAP, group_id=group_id, auto_offset_reset="earliest"
    )
    await consumer.start()
    seen = 0
    while seen < n and not stop.is_set():
        seen += show(await consumer.getmany(timeout_ms=POLL_MS))
    code = 1
    for _ in range(common.FINAL_COMMIT_ATTEMPTS):
        try:
            offsets = {tp: await consumer.position(tp) for tp in consumer.assignment()}
            if offsets:
                await consumer.commit(offsets)
        except (KafkaError, IllegalStateError) as e:
            common.note("final commit:", repr(e))
            show(await consumer.getmany(timeout_ms=POLL_MS))
            continue
        for tp, offset in offsets.items():
            common.committed(tp.partition, offset)
        code = 0
        break
    await consumer.stop()
    return code


def run(command):
    return lambda *args: asyncio.run(command(*args))


common.main(run(produce), run(assign), run(group))
