mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use common::Error;
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::Record;

const BATCH_RECORDS: u64 = 100;
const FETCH_BYTES: std::ops::Range<i32> = 1..1_000_000;
const FETCH_WAIT_MILLIS: i32 = 200;

async fn partitions(client: &Client, topic: &str) -> Result<BTreeMap<i32, Arc<PartitionClient>>, Error> {
    let topics = client.list_topics().await?;
    let found = topics.into_iter().find(|t| t.name == topic).ok_or("no such topic")?;
    let mut all = BTreeMap::new();
    for p in found.partitions {
        let id = p;
        all.insert(id, Arc::new(client.partition_client(topic, id, UnknownTopicHandling::Retry).await?));
    }
    Ok(all)
}

async fn produce(client: &Client, topic: &str, from: u64, to: u64) -> Result<i32, Error> {
    let all: Vec<_> = partitions(client, topic).await?.into_values().collect();
    for start in (from..to).step_by(BATCH_RECORDS as usize) {
        // The client has no partitioner: batches take turns.
        let partition = &all[(start / BATCH_RECORDS) as usize % all.len()];
        let records = (start..to.min(start + BATCH_RECORDS))
            .map(|i| {
                let (name, h) = common::header(i);
                Record {
                    key: Some(common::key(i).into_bytes()),
                    value: Some(common::value(i).into_bytes()),
                    headers: BTreeMap::from([(name.to_owned(), h.into_bytes())]),
                    timestamp: chrono::Utc::now(),
                }
            })
            .collect();
        partition.produce(records, Compression::default()).await?;
    }
    Ok(0)
}

async fn assign(client: &Client, topic: &str, n: usize) -> Result<i32, Error> {
    let all = partitions(client, topic).await?;
    let mut next = BTreeMap::new();
    for (id, partition) in &all {
        next.insert(*id, partition.get_offset(OffsetAt::Earliest).await?);
    }
    let (mut seen, mut heard) = (0, Instant::now());
    while seen < n && heard.elapsed() < common::SILENCE {
        for (id, partition) in &all {
            let (records, _) = partition.fetch_records(next[id], FETCH_BYTES, FETCH_WAIT_MILLIS).await?;
            for r in records {
                common::record(*id, r.offset, r.record.key.as_deref(), r.record.value.as_deref());
                next.insert(*id, r.offset + 1);
                seen += 1;
                heard = Instant::now();
            }
        }
    }
    Ok(common::incomplete(seen, n))
}

async fn run() -> Result<i32, Error> {
    let command = common::command();
    if matches!(command, common::Command::Group { .. }) {
        return Ok(common::unsupported("rskafka knows no groups"));
    }
    let client = ClientBuilder::new(vec![common::bootstrap()]).build().await?;
    match command {
        common::Command::Produce { topic, from, to } => produce(&client, &topic, from, to).await,
        common::Command::Assign { topic, n } => assign(&client, &topic, n).await,
        common::Command::Group { .. } => unreachable!("answered above"),
    }
}

#[tokio::main]
async fn main() {
    common::finish(run().await)
}
