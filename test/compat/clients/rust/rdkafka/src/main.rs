mod common;

use std::time::{Duration, Instant};

use common::Error;
use futures_util::future::join_all;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{CommitMode, Consumer, ConsumerContext, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::util::Timeout;
use rdkafka::ClientContext;
use tokio::signal::unix::{signal, SignalKind};

const METADATA_TIMEOUT: Duration = Duration::from_secs(30);
const CHUNK_RECORDS: u64 = 1000;

struct Context;

impl ClientContext for Context {
    fn error(&self, err: KafkaError, reason: &str) {
        common::note(format!("error: {err}: {reason}"));
    }
}

impl ConsumerContext for Context {
    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        match result {
            Ok(()) => show(offsets),
            Err(err) => common::note(format!("commit: {err}")),
        }
    }
}

fn show(offsets: &TopicPartitionList) {
    for e in offsets.elements() {
        match (e.error(), e.offset()) {
            (Err(err), _) => common::note(format!("commit: {err}")),
            (Ok(()), Offset::Offset(offset)) => common::committed(e.partition(), offset),
            _ => {}
        }
    }
}

fn config() -> ClientConfig {
    let mut c = ClientConfig::new();
    c.set("bootstrap.servers", common::bootstrap());
    c
}

async fn produce(topic: &str, from: u64, to: u64) -> Result<i32, Error> {
    let producer: FutureProducer = config().create()?;
    for start in (from..to).step_by(CHUNK_RECORDS as usize) {
        let acks = (start..to.min(start + CHUNK_RECORDS)).map(|i| {
            let producer = producer.clone();
            async move {
                let (key, value, (name, h)) = (common::key(i), common::value(i), common::header(i));
                let headers = OwnedHeaders::new().insert(Header { key: name, value: Some(&h) });
                let record = FutureRecord::to(topic).key(&key).payload(&value).headers(headers);
                producer.send(record, Timeout::Never).await.map_err(|(err, _)| err)
            }
        });
        for ack in join_all(acks).await {
            ack?;
        }
    }
    Ok(0)
}

fn print(m: &impl Message) {
    common::record(m.partition(), m.offset(), m.key(), m.payload());
}

async fn assign(topic: &str, n: usize) -> Result<i32, Error> {
    let group = format!("assign-{topic}");
    let consumer: StreamConsumer<Context> =
        config().set("group.id", group).set("enable.auto.commit", "false").create_with_context(Context)?;
    let metadata = consumer.fetch_metadata(Some(topic), METADATA_TIMEOUT)?;
    let mut all = TopicPartitionList::new();
    for p in metadata.topics().iter().flat_map(|t| t.partitions()) {
        all.add_partition_offset(topic, p.id(), Offset::Beginning)?;
    }
    consumer.assign(&all)?;
    let (mut seen, mut heard) = (0, Instant::now());
    while seen < n && heard.elapsed() < common::SILENCE {
        match tokio::time::timeout(common::RETRY_PAUSE, consumer.recv()).await {
            Ok(Ok(m)) => {
                print(&m);
                seen += 1;
                heard = Instant::now();
            }
            Ok(Err(err)) => common::note(format!("error: {err}")),
            Err(_) => {}
        }
    }
    Ok(common::incomplete(seen, n))
}

async fn group(topic: &str, group: &str, n: usize) -> Result<i32, Error> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut c = config();
    c.set("group.id", group).set("auto.offset.reset", "earliest");
    if let Some(protocol) = common::group_protocol() {
        c.set("group.protocol", protocol);
    }
    let consumer: StreamConsumer<Context> = c.create_with_context(Context)?;
    consumer.subscribe(&[topic])?;
    let mut seen = 0;
    while seen < n {
        let received = tokio::select! {
            r = consumer.recv() => r,
            _ = term.recv() => break,
            _ = int.recv() => break,
        };
        match received {
            Ok(m) => {
                print(&m);
                seen += 1;
            }
            Err(err @ KafkaError::MessageConsumptionFatal(_)) => return Err(err.into()),
            Err(err) => common::note(format!("error: {err}")),
        }
    }
    for _ in 0..common::FINAL_COMMIT_ATTEMPTS {
        match consumer.commit_consumer_state(CommitMode::Sync) {
            Ok(()) => {
                show(&consumer.committed(METADATA_TIMEOUT)?);
                return Ok(0);
            }
            Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => return Ok(0),
            Err(err) => common::note(format!("final commit: {err}")),
        }
        if let Ok(Ok(m)) = tokio::time::timeout(common::RETRY_PAUSE, consumer.recv()).await {
            print(&m);
        }
    }
    Ok(1)
}

async fn run() -> Result<i32, Error> {
    match common::command() {
        common::Command::Produce { topic, from, to } => produce(&topic, from, to).await,
        common::Command::Assign { topic, n } => assign(&topic, n).await,
        common::Command::Group { topic, group: id, n } => group(&topic, &id, n).await,
    }
}

#[tokio::main]
async fn main() {
    common::finish(run().await)
}
