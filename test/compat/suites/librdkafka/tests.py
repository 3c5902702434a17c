"""Which of librdkafka's tests run, and what came of them.

    tests.py list test.c HERE ONLY                           NUMBER PART PROTOCOL..., a line for each part of a test
    tests.py report test.c HERE ONLY RUNS VERSION RESULTS    the results of all, from RUNS; code 1 after a failure

HERE is the directory of skip.txt and parts.txt; PART is "all" for a test that is not cut up.

Runs are by number: 0045 is all tests that are called 0045_*. ONLY has numbers with commas, or is empty.
"""

import collections
import glob
import json
import os
import re
import sys

PROTOCOLS = ("classic", "consumer")
WHY_CHARACTERS = 400
GROUPS = re.compile(r"rd_kafka_subscribe|->subscribe|test_consumer_subscribe|test_create_consumer|KafkaConsumer::create")


def declared(source):
    """Name -> (flags, scenario) of every test, in order."""
    table = re.search(r"^struct test tests\[\] = \{(.*?)^\};", open(source).read(), re.S | re.M).group(1)
    tests = collections.OrderedDict()
    for entry in re.split(r"\n\s*_TEST\(", table)[1:]:
        name, rest = entry.split(",", 1)
        flags = re.match(r"\s*([A-Z_0-9| \n]+)", rest).group(1)
        scenario = re.search(r'\.scenario = "([^"]*)"', rest)
        tests[name] = (flags, scenario.group(1) if scenario else "default")
    return tests


def lines(here, name):
    """(first word, the rest) of each line of a file that is no comment."""
    for line in open(os.path.join(here, name)):
        line = line.split("#", 1)[0].strip()
        if line:
            yield line.split(None, 1)


def reason_of(name, flags, scenario, skips):
    for which in (name, name.split("_")[0]):
        if which in skips:
            return skips[which]
    if "TEST_F_LOCAL" in flags or name.endswith("_mock"):
        return "needs no broker"
    if "TEST_F_MANUAL" in flags:
        return "is for people to run"
    if "TEST_F_KNOWN_ISSUE" in flags.split():
        return "is known to fail"
    if "share_consumer" in name:
        return "needs share groups"
    if "default" not in scenario.split(","):
        return "needs a broker that does not create topics by itself"
    return ""


def parts(here, name):
    """(part, why it does not run or "") of a test."""
    cut = [rest.split(None, 1) + [""] for number, rest in lines(here, "parts.txt") if number == name.split("_")[0]]
    return [tuple(c[:2]) for c in cut] or [("all", "")]


def select(source, here, only):
    skips, numbers = dict(lines(here, "skip.txt")), [n for n in only.split(",") if n]
    for name, (flags, scenario) in declared(source).items():
        if numbers and name.split("_")[0] not in numbers:
            continue
        yield name, reason_of(name, flags, scenario, skips)


def protocols(name):
    """A test that reads in groups runs with each protocol; which those are, its source says."""
    texts = [open(f, errors="replace").read() for f in glob.glob(name.split("_")[0] + "-*.c*")]
    return PROTOCOLS if any(GROUPS.search(t) for t in texts) else PROTOCOLS[:1]


def command_list(source, here, only):
    seen = set()
    for name, reason in select(source, here, only):
        number = name.split("_")[0]
        if not reason and number not in seen:
            seen.add(number)
            for part, left_out in parts(here, name):
                if not left_out:
                    print(number, part, *protocols(name))


def last_words(log):
    """What the test said when it failed."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in open(log, errors="replace")]
    told = [line for line in lines if re.search(r"TEST FAILURE|Test failed|: assert|### Test .* failed", line)]
    after = [lines[i + 1] for i, line in enumerate(lines[:-1]) if "TEST FAILURE" in line]
    return " | ".join((after or told or lines[-3:])[:2])[:WHY_CHARACTERS]


def outcome(runs, name, part, protocol):
    at = os.path.join(runs, "%s.%s.%s" % (name.split("_")[0], part, protocol))
    try:
        tests = json.load(open(at + ".json"), strict=False)["tests"]
    except (OSError, ValueError, KeyError):
        return False, False, "no report: " + last_words(at + ".log")
    state = tests[name]["state"]
    if state == "PASSED":
        if part != "all" and not re.search(part + r".*: PASS", open(at + ".log", errors="replace").read()):
            return protocol != PROTOCOLS[0], protocol != PROTOCOLS[0], "the test has no such part with this protocol"
        return True, False, ""
    if state == "SKIPPED":
        return True, True, "the test skips itself: " + tests[name]["extra"]
    return False, False, "%s: %s" % (state, last_words(at + ".log"))


def command_report(source, here, only, runs, version, results):
    counts = collections.Counter()
    with open(results, "a") as out:

        def result(what, ok, skip, why):
            line = {"group": "suites", "client": "librdkafka tests", "version": version, "what": what, "ok": ok}
            line.update({"skip": True} if skip else {})
            out.write(json.dumps(dict(line, why=why)) + "\n")
            word = "skip" if skip else "ok" if ok else "FAIL"
            counts[word] += 1
            print(word, what, why)

        for name, reason in select(source, here, only):
            if reason:
                result(name, True, True, reason)
                continue
            for part, left_out in parts(here, name):
                title = name if part == "all" else name + " " + part.removeprefix("do_test_").rstrip(":")
                if left_out:
                    result(title, True, True, left_out)
                    continue
                for protocol in protocols(name):
                    what = title
                    what += "" if protocol == "classic" else ", group.protocol=" + protocol
                    result(what, *outcome(runs, name, part, protocol))
    print("%d passed, %d failed, %d skipped" % (counts["ok"], counts["FAIL"], counts["skip"]))
    sys.exit(1 if counts["FAIL"] else 0)


{"list": command_list, "report": command_report}[sys.argv[1]](*sys.argv[2:])
