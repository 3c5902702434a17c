package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// checkConfig runs the check with a file of the text given; without a filesystem, which a check must not touch.
func checkConfig(t *testing.T, text string, environ []string, args ...string) (code int, out, errs string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "server.properties")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var o, e bytes.Buffer
	code = Run(context.Background(), Env{Args: append([]string{"serve", "--check-config", "--config", file}, args...), Environ: environ, Stdout: &o, Stderr: &e})
	return code, o.String(), e.String()
}

// A service manager and a build decide by the exit code: 0 is a configuration that a start takes, everything else is not.
func TestCheckConfigExitCodes(t *testing.T) {
	tests := map[string]struct {
		file string
		args []string
		code int
		out  string // in the output, if the check passes
		err  string // in what goes to stderr, if it does not
	}{
		"empty file":                               {code: exitOK, out: "the configuration is right: 0 keys set"},
		"comments and continuations":               {file: "# a comment\n! another\nnum.partitions=\\\n  3\n", code: exitOK, out: "num.partitions=3  (file)"},
		"a key of Kafka's that means nothing here": {file: "zookeeper.connect=zk.example:2181\n", code: exitOK, out: "ignored, no meaning here: zookeeper.connect"},
		"the flag goes before the file":            {file: "num.partitions=3\n", args: []string{"--set", "num.partitions=5"}, code: exitOK, out: "num.partitions=5  (--set)"},
		"unknown key in the file":                  {file: "num.partitionz=3\n", code: exitFailed, err: "num.partitionz"},
		"unknown key of --set":                     {args: []string{"--set", "no.such.key=1"}, code: exitFailed, err: "no.such.key"},
		"--set without a value":                    {args: []string{"--set", "num.partitions"}, code: exitFailed, err: "num.partitions"},
		"out of range":                             {file: "num.partitions=0\n", code: exitFailed, err: "allowed: whole numbers from 1 to 100000"},
		"less than a journal can have":             {file: "log.journal.bytes=1\n", code: exitOK, out: "note: log.journal.bytes=1 counts as 16384"},
		"a second mistake, in the file":            {file: "num.partitions=0\nnum.partitionz=3\n", args: []string{"--set", "nothing"}, code: exitFailed, err: "num.partitionz"},
		"a second mistake, behind the file":        {file: "num.partitions=0\n", args: []string{"--set", "nothing"}, code: exitFailed, err: "want key=value"},
		"of two kinds":                             {file: "num.partitions=0\nlog.dirs=/a,/b\n", code: exitFailed, err: "exactly one directory"},
		"nothing would be kept":                    {file: "log.retention.hours=0\n", code: exitFailed, err: "log.retention.hours=0"},
		"what is not in force":                     {file: "log.retention.hours=0\nlog.retention.ms=1000\n", code: exitOK, out: "2 keys set"},
		"an authorizer":                            {file: "authorizer.class.name=a.B\nsuper.users=User:a\n", code: exitOK, out: "warning: nothing enforces what these keys are to protect: authorizer.class.name super.users"},
		"all interfaces":                           {args: []string{"--listen", "0.0.0.0:9092"}, code: exitOK, out: "NO AUTHENTICATION"},
		"no number":                                {file: "num.partitions=three\n", code: exitFailed, err: "num.partitions"},
		"no listener":                              {file: "listeners=nonsense\n", code: exitFailed, err: "listeners"},
		"unknown flag":                             {args: []string{"--no-such-flag"}, code: exitUsage, err: "no-such-flag"},
		"an argument that is none":                 {args: []string{"surplus"}, code: exitUsage, err: "surplus"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			code, out, errs := checkConfig(t, test.file, nil, test.args...)
			if code != test.code {
				t.Errorf("exit code %d, want %d; stdout %q, stderr %q", code, test.code, out, errs)
			}
			if !strings.Contains(out, test.out) || !strings.Contains(errs, test.err) {
				t.Errorf("stdout %q, want %q in it; stderr %q, want %q in it", out, test.out, errs, test.err)
			}
			if right := strings.Contains(out, "the configuration is right"); right != (test.code == exitOK) {
				t.Errorf("says right: %v; %q", right, out)
			}
			if (errs == "") != (test.code == exitOK) {
				t.Errorf("stderr %q with exit code %d", errs, code)
			}
		})
	}
}

func TestCheckConfigOfAFileThatIsNotThere(t *testing.T) {
	var out, errs bytes.Buffer
	missing := filepath.Join(t.TempDir(), "missing.properties")
	code := Run(context.Background(), Env{Args: []string{"serve", "--check-config", "--config", missing}, Stdout: &out, Stderr: &errs})
	if code != exitFailed || !strings.Contains(errs.String(), "missing.properties") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, &out, &errs)
	}
	large := filepath.Join(t.TempDir(), "large.properties")
	if err := os.WriteFile(large, bytes.Repeat([]byte("#\n"), configBytesMax/2+1), 0o600); err != nil {
		t.Fatal(err)
	}
	code = Run(context.Background(), Env{Args: []string{"serve", "--check-config", "--config", large}, Stdout: &out, Stderr: &errs})
	if code != exitFailed || !strings.Contains(errs.String(), "large.properties") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, &out, &errs)
	}
}

// What is checked is what a start would take, wherever it comes from.
func TestCheckConfigReadsTheEnvironment(t *testing.T) {
	code, out, errs := checkConfig(t, "", []string{"OTTLA_NUM_PARTITIONS=7"})
	if code != exitOK || !strings.Contains(out, "num.partitions=7") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, out, errs)
	}
	code, _, errs = checkConfig(t, "", []string{"OTTLA_NUM_PARTITIONS=seven"})
	if code != exitFailed || !strings.Contains(errs, "num.partitions") {
		t.Errorf("exit code %d, stderr %q", code, errs)
	}
}
