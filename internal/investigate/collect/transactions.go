package collect

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/investigate/evidence"
)

// Limits of ListTransactions.
const (
	// transactionsAsked is how many producer ids of each kind, newborn and transactional, are looked up. A list without a filter has no
	// bound: a cluster whose transactional ids are the leak has millions.
	transactionsAsked = 1_000
	transactionBytes  = 300 // of one in an answer, at most in reason
	prefixesMax       = 200
	prefixBytesMax    = 32
)

const permissionTransactions = "DESCRIBE on TransactionalId"

var sourceTransactions = source{
	name:        evidence.SourceTransactions,
	what:        "whether the producers that were seen have a transactional id",
	permissions: permissionTransactions,
	run:         runTransactions,
	most: func(s *step) (int64, int64) {
		n := int64(len(s.scan.Brokers))
		return n + 1, (2*transactionsAsked + 1) * transactionBytes
	},
}

func runTransactions(ctx context.Context, s *step) error {
	newborn, transactional := seenPIDs(s.scan, transactionsAsked)
	if len(newborn)+len(transactional) == 0 {
		return nil
	}
	out := &evidence.TransactionsSeen{Seen: int64(len(newborn)), States: map[string]int64{}, Prefixes: map[string]int64{}}
	req := kmsg.NewPtrListTransactionsRequest()
	req.ProducerIDFilters = slices.Concat(newborn, transactional)
	wanted := make(map[int64]bool, len(req.ProducerIDFilters))
	for _, pid := range req.ProducerIDFilters {
		wanted[pid] = true
	}
	var mu sync.Mutex
	answers := 0
	perBroker(ctx, s, oneEach(s.answering()), func(ctx context.Context, broker int32, _ struct{}) {
		r := *req // the client writes the version into it
		resp, err := r.RequestWith(ctx, s.at(broker, int64(len(wanted))*transactionBytes))
		if err == nil {
			err = coded(resp.ErrorCode)
		}
		if err != nil {
			s.trouble(err, permissionTransactions)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		answers++
		for _, t := range resp.TransactionStates {
			if wanted[t.ProducerID] {
				s.addTransaction(out, t.TransactionalID, t.ProducerID, t.TransactionState)
			}
		}
	})
	if answers == 0 {
		return nil
	}
	if out.Listed == 0 {
		if err := s.mayDescribe(ctx); err != nil {
			s.trouble(err, permissionTransactions)
			return nil
		}
	}
	for range answers {
		s.ok()
	}
	if out.Listed == 0 && len(transactional) > 0 {
		s.lacks(permissionTransactions)
		s.leftOut(fmt.Sprintf("no broker named a transactional id of %d transactional producers: brokers leave out, without a word, those that may not be described", len(transactional)))
	}
	trimPrefixes(out.Prefixes)
	slices.SortFunc(out.Known, func(a, b evidence.Transaction) int {
		return cmp.Or(cmp.Compare(a.PID, b.PID), cmp.Compare(a.ID, b.ID))
	})
	s.write(func(scan *evidence.Scan) { scan.Transactions = out })
	return nil
}

// mayDescribe tells an empty list from one that brokers emptied: they leave out, without a word, what may not be described
// (KafkaApis.handleListTransactionsRequest), but say so of an id that they are asked for by name, whether it exists or not.
func (s *step) mayDescribe(ctx context.Context) error {
	for _, broker := range s.answering() {
		if s.version(broker, kmsg.DescribeTransactions) < 0 {
			continue
		}
		req := kmsg.NewPtrDescribeTransactionsRequest()
		req.TransactionalIDs = []string{ClientID}
		resp, err := req.RequestWith(ctx, s.at(broker, transactionBytes))
		if err != nil || len(resp.TransactionStates) == 0 {
			return nil // nothing speaks against the list
		}
		if err := coded(resp.TransactionStates[0].ErrorCode); errors.Is(err, kerr.TransactionalIDAuthorizationFailed) {
			return err
		}
		return nil
	}
	return nil
}

func (s *step) addTransaction(out *evidence.TransactionsSeen, id string, pid int64, state string) {
	out.Listed++
	out.States[state]++
	prefix, _ := idPrefix(id)
	if _, seen := out.Prefixes[prefix]; seen || len(out.Prefixes) < 10*prefixesMax {
		out.Prefixes[prefix]++
	}
	if len(out.Known) >= evidence.TransactionsMax {
		out.LeftOut++
		return
	}
	if !s.o.ShowIDs {
		id = maskedID(id)
	}
	out.Known = append(out.Known, evidence.Transaction{ID: id, PID: pid, State: state})
}

// seenPIDs are producer ids of the tails: newborn ones, and those in transactions, at most most of each, spread over all tails.
func seenPIDs(scan *evidence.Scan, most int) (newborn, transactional []int64) {
	born, txn := map[int64]bool{}, map[int64]bool{}
	for depth, more := 0, true; more; depth++ {
		more = false
		for i := range scan.Tails {
			ps := scan.Tails[i].Producers
			if depth >= len(ps) {
				continue
			}
			more = true
			switch p := &ps[depth]; {
			case p.Transactional && len(txn) < most:
				txn[p.PID] = true
			case p.Born && len(born) < most:
				born[p.PID] = true
			}
		}
		if len(born) >= most && len(txn) >= most {
			break
		}
	}
	return slices.Sorted(maps.Keys(born)), slices.Sorted(maps.Keys(txn))
}

// idPrefix is what ids made by the same program have in common: what comes before the first digit or random part. counted
// tells that there is such a part.
func idPrefix(id string) (prefix string, counted bool) {
	prefix = randomPart.ReplaceAllString(id, "*")
	i := strings.IndexFunc(prefix, func(r rune) bool { return unicode.IsDigit(r) || r == '*' || r == unicode.ReplacementChar })
	if counted = i >= 0; counted {
		prefix = prefix[:i]
	}
	if len(prefix) > prefixBytesMax {
		prefix = strings.ToValidUTF8(prefix[:prefixBytesMax], "")
	}
	return prefix, counted
}

// maskedID keeps the beginning of an id, and a hash of it all, so that equal ones can be seen to be equal.
func maskedID(id string) string {
	prefix, counted := idPrefix(id)
	if !counted { // keep to its first words
		if i := strings.LastIndexAny(prefix, "-_.:/@"); i >= 0 {
			prefix = prefix[:i+1]
		} else {
			prefix = prefix[:min(len(prefix), 4)]
		}
	}
	sum := sha256.Sum256([]byte(id))
	return strings.ToValidUTF8(prefix, "") + "#" + hex.EncodeToString(sum[:4])
}

// trimPrefixes keeps the commonest.
func trimPrefixes(prefixes map[string]int64) {
	if len(prefixes) <= prefixesMax {
		return
	}
	names := slices.SortedFunc(maps.Keys(prefixes), func(a, b string) int {
		return cmp.Or(cmp.Compare(prefixes[b], prefixes[a]), cmp.Compare(a, b))
	})
	for _, name := range names[prefixesMax:] {
		delete(prefixes, name)
	}
}
