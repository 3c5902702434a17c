"""Judges a run of kafka-verifiable-producer and -consumers: judge.py PRODUCER_LOG CONSUMER_LOG...

Every acknowledged value must have been seen, and no record may be seen later than a commit behind it was acknowledged.
The producer does not send again what has failed: values that fail while the broker is dead, or while it ends, do not count.
With --seen it only says whether every acknowledged value has been seen yet."""
import bisect
import json
import sys

early = sys.argv[1] == "--seen"
logs = sys.argv[2:] if early else sys.argv[1:]


def events(path):
    for line in open(path, errors="replace"):
        try:
            event = json.loads(line)
        except ValueError:
            continue  # what a logger wrote, or the line that a kill cut off
        if isinstance(event, dict):
            yield event


acked = {int(e["value"]) for e in events(logs[0]) if e.get("name") == "producer_send_success"}
seen, records, commits, refused = set(), [], {}, 0
for log in logs[1:]:
    for e in events(log):
        if e.get("name") == "record_data":
            seen.add(int(e["value"]))
            records.append((e["partition"], e["offset"], e["timestamp"]))
        elif e.get("name") == "offsets_committed":
            if not e["success"]:
                refused += 1
                continue
            for o in e["offsets"]:
                commits.setdefault(o["partition"], []).append((e["timestamp"], o["offset"]))
missing = acked - seen
if early:
    sys.exit(1 if missing or not acked else 0)
# For each partition, the highest offset committed up to each moment.
highest = {}
for partition, list_ in commits.items():
    list_.sort()
    top, steps = 0, []
    for when, offset in list_:
        top = max(top, offset)
        steps.append((when, top))
    highest[partition] = steps
again = []
for partition, offset, when in records:
    steps = highest.get(partition, [])
    i = bisect.bisect_left(steps, (when, -1)) - 1
    if i >= 0 and steps[i][1] > offset:
        again.append((partition, offset, steps[i][1]))
problems = []
if not acked:
    problems.append("nothing was acknowledged")
if missing:
    problems.append(f"{len(missing)} of {len(acked)} acknowledged records were never seen, as {sorted(missing)[:3]}")
if not commits:
    problems.append(f"nothing was committed, {refused} commits refused")
if again:
    problems.append(f"{len(again)} records were seen again behind a commit, as partition, offset, committed {again[:3]}")
if problems:
    sys.exit("; ".join(problems))
print(f"{len(acked)} acknowledged, {len(records)} seen, {sum(map(len, commits.values()))} commits, {refused} refused")
