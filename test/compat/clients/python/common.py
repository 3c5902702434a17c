"""What the Python drivers share: the records, the output, the command line. It knows no client.

    driver produce TOPIC FROM TO
    driver assign TOPIC N
    driver group TOPIC GROUP N

BOOTSTRAP names the broker. The README of the directory above says what each command prints and when it ends.
"""

import os
import signal
import sys
import time

BOOTSTRAP = os.environ.get("BOOTSTRAP", "127.0.0.1:9092")
GROUP_PROTOCOL = os.environ.get("GROUP_PROTOCOL", "")

SILENCE_SECONDS = 60  # assign ends after so long without a record
FINAL_COMMIT_ATTEMPTS = 20  # a rebalance or a broker that restarts may refuse the final commit for a while

FILLER = "".join(chr(97 + i % 26) for i in range(64 + 26))


def key(i):
    return b"k%d" % i


def value(i):
    return ("v%d-%s" % (i, FILLER[i % 26 : i % 26 + 64])).encode()


def header(i):
    return [("h", b"%d" % i)]


def text(b):
    return "" if b is None else b.decode(errors="replace")


def record(partition, offset, k, v):
    sys.stdout.write("%d\t%d\t%s\t%s\n" % (partition, offset, text(k), text(v)))
    sys.stdout.flush()


def committed(partition, offset):
    sys.stdout.write("committed\t%d\t%d\n" % (partition, offset))
    sys.stdout.flush()


def note(*words):
    print(time.strftime("%H:%M:%S"), *words, file=sys.stderr, flush=True)


class Stop:
    """Becomes true when SIGTERM or SIGINT arrives."""

    def __init__(self):
        self.set = False
        for s in (signal.SIGTERM, signal.SIGINT):
            signal.signal(s, self.arrived)

    def arrived(self, *_):
        self.set = True

    def __bool__(self):
        return self.set


class Silence:
    """Watches for SILENCE_SECONDS without a record."""

    def __init__(self):
        self.heard()

    def heard(self):
        self.last = time.monotonic()

    def over(self):
        return time.monotonic() - self.last > SILENCE_SECONDS


def unsupported(why):
    note(why)
    print("unsupported", flush=True)
    return 3


def incomplete(seen, wanted):
    if seen >= wanted:
        return 0
    note("%d records of %d" % (seen, wanted))
    return 1


def main(produce, assign, group):
    """Runs the command; each function gets its arguments with numbers as int and returns the exit code (None is 0)."""
    args = sys.argv[1:]
    try:
        command = args[0]
        if command == "produce":
            run, args = produce, (args[1], int(args[2]), int(args[3]))
        elif command == "assign":
            run, args = assign, (args[1], int(args[2]))
        elif command == "group":
            run, args = group, (args[1], args[2], int(args[3]))
        else:
            raise ValueError(command)
    except (IndexError, ValueError):
        note("usage: driver produce TOPIC FROM TO | assign TOPIC N | group TOPIC GROUP N")
        sys.exit(2)
    sys.exit(run(*args) or 0)
