package collect

import (
	"bytes"
	"cmp"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// request is what one line of a broker's log says of one request that makes or uses a producer.
type request struct {
	init      bool // InitProducerId; else Produce
	pid       int64
	clientID  string
	principal string
	address   string
	software  string
	topic     string
	topicID   string    // instead of topic, as Kafka prints it; Produce from version 13
	at        time.Time // zero if the line has no date
}

const (
	apiProduce        = 0
	apiInitProducerID = 22
)

// parseLogLine reads a line of a request log or an authorizer's log; ok is false for every other line and for other requests.
//
// Kafka has written requests in three forms: up to 2.6 as text ("RequestHeader(apiKey=...)"), from 2.7 as JSON, both by
// RequestChannel; and what an authorizer decided ("Principal = User:x is Allowed ...") by SimpleAclAuthorizer, AclAuthorizer and
// StandardAuthorizer.
func parseLogLine(line []byte) (r request, ok bool) {
	switch i := bytes.Index(line, []byte("ompleted request:")); {
	case i >= 0:
		rest := line[i+len("ompleted request:"):]
		if bytes.HasPrefix(rest, []byte("{\"")) {
			r, ok = parseRequestJSON(rest)
		} else {
			r, ok = parseRequestText(rest)
		}
	default:
		if i = bytes.Index(line, []byte("Principal = ")); i < 0 {
			return request{}, false
		}
		r, ok = parseAuthorizer(line[i:])
	}
	if r.clientID == ClientID {
		return request{}, false // an investigation
	}
	if ok {
		r.at = lineDate(line)
	}
	return r, ok
}

type loggedRequest struct {
	Header struct {
		Key      int16  `json:"requestApiKey"`
		ClientID string `json:"clientId"`
	} `json:"requestHeader"`
	Request    json.RawMessage `json:"request"`
	Response   json.RawMessage `json:"response"`
	Connection string          `json:"connection"`
	Principal  string          `json:"principal"`
	Client     struct {
		Name    string `json:"softwareName"`
		Version string `json:"softwareVersion"`
	} `json:"clientInformation"`
}

func parseRequestJSON(b []byte) (request, bool) {
	// Most lines are of other requests, and decoding costs more than looking.
	if !bytes.Contains(b, []byte(`"requestApiKey":22,`)) && !bytes.Contains(b, []byte(`"requestApiKey":0,`)) {
		return request{}, false
	}
	var l loggedRequest
	if json.NewDecoder(bytes.NewReader(b)).Decode(&l) != nil {
		return request{}, false
	}
	r := request{pid: -1, clientID: l.Header.ClientID, principal: l.Principal, address: connectionAddress(l.Connection), software: software(l.Client.Name, l.Client.Version)}
	switch l.Header.Key {
	case apiInitProducerID:
		r.init = true
		answer := struct {
			Error int16 `json:"errorCode"`
			PID   int64 `json:"producerId"`
		}{PID: -1}
		if json.Unmarshal(l.Response, &answer) == nil && answer.Error == 0 {
			r.pid = answer.PID
		}
	case apiProduce:
		var produce struct {
			Topics []struct {
				Name string `json:"name"`
				ID   string `json:"topicId"`
			} `json:"topicData"`
		}
		if json.Unmarshal(l.Request, &produce) == nil && len(produce.Topics) == 1 {
			r.topic, r.topicID = produce.Topics[0].Name, produce.Topics[0].ID
		}
	default:
		return request{}, false
	}
	return r, true
}

// produceTopic finds the topics in the answer to a Produce: at DEBUG the request names none.
var produceTopic = regexp.MustCompile(`\{topic=([A-Za-z0-9._-]{1,249}),partition_responses=`)

func parseRequestText(b []byte) (request, bool) {
	line := string(b)
	r := request{pid: -1}
	// A client id may hold anything but is followed by what is not.
	header, body, _ := strings.Cut(line, " -- ")
	switch cmp.Or(between(header, "apiKey=", ","), between(header, "api_key=", ",")) { // 0.11 has numbers
	case "INIT_PRODUCER_ID", "22":
		r.init = true
	case "PRODUCE", "0":
	default:
		return request{}, false
	}
	if r.clientID = between(header, "clientId=", ", correlationId="); r.clientID == "" {
		r.clientID = strings.TrimSuffix(after(header, "client_id="), "}")
	}
	end := body
	if i := strings.LastIndex(body, " from connection "); i >= 0 {
		end = body[i:]
	}
	r.address = connectionAddress(between(end, " from connection ", ";"))
	r.principal = between(end, ",principal:", ",listener:")
	r.software = software(between(end, "softwareName=", ","), between(end, "softwareVersion=", ")"))
	if r.init {
		answer := after(body, "response:")
		if pid, err := strconv.ParseInt(between(answer, "producer_id=", ","), 10, 64); err == nil && strings.Contains(answer, "error_code=0") {
			r.pid = pid
		}
	} else if m := produceTopic.FindAllStringSubmatch(body, 2); len(m) == 1 {
		r.topic = m[0][1]
	}
	return r, true
}

// parseAuthorizer takes what was allowed: an operation that only such requests need where the line does not name the request.
func parseAuthorizer(b []byte) (request, bool) {
	line := string(b)
	who, what, allowed := strings.Cut(strings.TrimPrefix(line, "Principal = "), " is Allowed ")
	if !allowed {
		return request{}, false
	}
	r := request{pid: -1, principal: who, address: between(what, " from host = ", " on resource = ")}
	operation := strings.ToLower(strings.ReplaceAll(between(what, "peration = ", " from host"), "_", ""))
	resource, named, _ := strings.Cut(strings.TrimSpace(after(what, " on resource = ")), " for request = ")
	switch api, _, _ := strings.Cut(named, " "); {
	case api == "InitProducerId" || api == "INIT_PRODUCER_ID", api == "" && operation == "idempotentwrite":
		r.init = true
	case api == "Produce" || api == "PRODUCE", api == "" && operation == "write" && strings.HasPrefix(resource, "Topic:"):
		// up to 2.0 Topic:name, then Topic:LITERAL:name
		topic := strings.TrimPrefix(resource, "Topic:")
		if _, name, two := strings.Cut(topic, ":"); two {
			topic = name
		}
		r.topic, _, _ = strings.Cut(topic, " (")
	default:
		return request{}, false
	}
	return r, true
}

func software(name, version string) string {
	if name == "unknown" || name == "" {
		return ""
	}
	return strings.TrimSpace(name + " " + version)
}

// connectionAddress is the client's address in the name of a connection: "local:port-remote:port-processor", since 3.x with
// one more number. The port says nothing: every connection has another.
func connectionAddress(connection string) string {
	_, remote, ok := strings.Cut(connection, "-")
	if !ok {
		return ""
	}
	remote, _, _ = strings.Cut(remote, "-")
	if i := strings.LastIndexByte(remote, ':'); i >= 0 {
		return remote[:i]
	}
	return ""
}

func after(s, start string) string {
	_, rest, _ := strings.Cut(s, start)
	return rest
}

func between(s, start, end string) string {
	rest := after(s, start)
	if i := strings.Index(rest, end); i >= 0 {
		return rest[:i]
	}
	return ""
}

var lineDates = []string{"2006-01-02 15:04:05,000", "2006-01-02T15:04:05.000Z", "2006-01-02 15:04:05.000"}

// lineDate reads the date a line begins with, "[2026-01-31 12:00:00,123]"; zero if there is none. Its zone is not
// known: only differences mean something.
func lineDate(line []byte) time.Time {
	head := strings.TrimPrefix(string(line[:min(len(line), 40)]), "[")
	for _, layout := range lineDates {
		if len(head) >= len(layout) {
			if at, err := time.Parse(layout, head[:len(layout)]); err == nil {
				return at
			}
		}
	}
	return time.Time{}
}

var (
	randomPart   = regexp.MustCompile(`[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|[0-9a-fA-F]*[0-9][0-9a-fA-F]{7,}`)
	trailingPart = regexp.MustCompile(`([-_.:@#/])[0-9]+$`)
)

// family makes one name of those that differ only in what a library or a platform counts up or rolls: "producer-17" is
// "producer-*", a UUID is "*". A leak makes a new client id each time.
func family(clientID string) string {
	return trailingPart.ReplaceAllString(randomPart.ReplaceAllString(clientID, "*"), "$1*")
}
