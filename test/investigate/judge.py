"""Holds JSON, or a class histogram, to expressions: judge.py FILE EXPRESSION...

v is what the file says. Each expression must be true. What is printed is the reason of a result: what was compared, with its values. A name
of the environment that begins with ARG_ is there without that, as a number where it is one."""

import datetime
import json
import os
import re
import statistics
import sys


def histogram(path):
    """The objects and bytes of each class."""
    out = {}
    with open(path) as lines:
        for line in lines:
            f = line.split()
            if len(f) >= 4 and re.fullmatch(r"\d+:", f[0]):
                count, size = out.get(f[3], (0, 0))
                out[f[3]] = (count + int(f[1]), size + int(f[2]))
    return out


def entries(path):
    """Entries of producers on a heap."""
    return sum(n for c, (n, _) in histogram(path).items() if c.endswith(("log.ProducerStateEntry", "log.ProducerIdEntry")))


# What an entry of a producer is made of, in the Kafkas of all times. The rest of a broker has some of these too, about as many at all times.
PARTS = (
    "log.ProducerStateEntry", "log.ProducerIdEntry", "log.BatchMetadata", "java.lang.Long", "java.util.HashMap$Node", "[Ljava.util.HashMap$Node;",
    "java.util.ArrayDeque", "[Ljava.lang.Object;", "scala.collection.mutable.LinkedList", "scala.collection.mutable.DefaultEntry",
    "scala.collection.mutable.Queue", "[Lscala.collection.mutable.HashEntry;",
)


def entry_bytes(*paths):
    """Bytes of live objects of such classes per entry, by histograms taken one after the other while a storm runs: the median of what it
    cost from each to the next. The broker lets go of a megabyte of other such objects now and then: that spoils one of the steps."""
    size = lambda path: sum(b for c, (_, b) in histogram(path).items() if c.endswith(PARTS))
    known = [(entries(path), size(path)) for path in paths]
    return statistics.median((b - a) / (m - n) for (n, a), (m, b) in zip(known, known[1:]) if m - n > 500)


def at(text):
    """Seconds since 1970 of a time in JSON."""
    text = re.sub(r"\.(\d{1,6})\d*", lambda m: "." + m[1].ljust(6, "0"), text.replace("Z", "+00:00"))
    return datetime.datetime.fromisoformat(text).timestamp()


def progress(log):
    """The seconds of a storm and how many producers it had made then: a line a second."""
    with open(log) as f:
        return [(int(m[1]), int(m[2])) for m in re.finditer(r"(?m)^ *(\d+) s +(\d+) producers", f.read())]


def pushed(log, end, moment=None):
    """Producers that a storm had made at a moment, by its progress, whose last line is of the time end."""
    points = progress(log)
    second = points[-1][0] - (0 if moment is None else end - moment)
    return max([n for s, n in points if s <= second], default=0)


def when(log, end, count):
    """The time at which a storm had made so many producers."""
    points = progress(log)
    return end - points[-1][0] + min(s for s, n in points if n >= count)


def near(a, b, share):
    """a is within a share of b."""
    return abs(a - b) <= share * abs(b)


def shown(value):
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, float) else f"{value:.4g}"
    return text if len(text) < 160 else text[:157] + "..."


def parts(expression):
    """The expressions in braces are worth telling: {a} > 3 is told as a=5."""
    return re.findall(r"\{([^{}]+)\}", expression)


def main():
    path, expressions = sys.argv[1], sys.argv[2:]
    try:
        with open(path) as f:
            v = json.load(f)
    except (OSError, ValueError) as err:
        print(f"{os.path.basename(path)} cannot be read: {err}")
        return 1
    names = {"v": v, "histogram": histogram, "entries": entries, "entry_bytes": entry_bytes, "at": at, "near": near, "pushed": pushed, "when": when}
    for name, value in os.environ.items():
        if name.startswith("ARG_"):
            try:
                names[name[4:]] = float(value)
            except ValueError:
                names[name[4:]] = value
    told, wrong = [], []
    for expression in expressions:
        plain = expression.replace("{", "(").replace("}", ")")
        try:
            told += [f"{p}={shown(eval(p, names))}" for p in parts(expression)]
            if not eval(plain, names):
                wrong.append(plain)
        except Exception as err:  # a field that is missing is a finding, not an end
            wrong.append(f"{plain}: {type(err).__name__} {err}")
    print("; ".join(dict.fromkeys(told)))
    if wrong:
        print("does not hold: " + " AND ".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
