package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/catalog"
	"ottla/internal/wire"
)

// DeleteTopics, versions 1 to 6.
//
// Topics come by name, or by id from version 6. A topic that is named twice, also once
// by name and once by id, is refused (ControllerApis.deleteTopics); the others go in
// one atomic step. When the answer is sent the topics are gone for good, also after a
// crash; their files, and the offsets that groups have committed for them, are removed in the background.
//
// Kafka shuffles the answer to hide what a client may not see; nothing is hidden here.

func (b *Broker) handleDeleteTopics(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.DeleteTopicsRequest)
	return replyFunc(func(context.Context) (wire.Response, error) { return b.deleteTopics(req), nil })
}

// deleteTopicsDisabledMin is the version from which clients know TOPIC_DELETION_DISABLED.
const deleteTopicsDisabledMin = 3

var (
	errNoSuchName       = catalog.Refuse(catalog.ErrUnknownTopic, "This server does not host this topic-partition.")
	errNoSuchID         = catalog.Refuse(catalog.ErrUnknownTopicID, "This server does not host this topic ID.")
	errDeletionDisabled = catalog.Refuse(catalog.ErrTopicDeletionDisabled, "Topic deletion is disabled.")
)

// topicDeletion collects what one request deletes and the answers so far.
type topicDeletion struct {
	b    *Broker
	resp *kmsg.DeleteTopicsResponse
	ids  [][16]byte
	name map[[16]byte]string // of ids; taken out again when a second way to name it turns up
}

func (b *Broker) deleteTopics(req *kmsg.DeleteTopicsRequest) *kmsg.DeleteTopicsResponse {
	d := &topicDeletion{b: b, resp: req.ResponseKind().(*kmsg.DeleteTopicsResponse), name: map[[16]byte]string{}}
	names, ids := d.split(req)
	if !b.o.Catalog.DeletionEnabled() {
		d.refuseAll(req)
		return d.resp
	}
	d.addIDs(ids)
	d.addNames(names)
	var doomed [][16]byte
	for _, id := range d.ids {
		if _, still := d.name[id]; still {
			doomed = append(doomed, id)
		}
	}
	for i, err := range b.o.Catalog.DeleteTopics(doomed) {
		name := d.name[doomed[i]]
		if err == nil && d.b.o.Groups != nil {
			d.b.o.Groups.TopicDeleted(name, doomed[i])
		}
		d.answer(&name, doomed[i], err)
	}
	return d.resp
}

func (d *topicDeletion) answer(name *string, id [16]byte, err error) {
	t := kmsg.NewDeleteTopicsResponseTopic()
	t.Topic, t.TopicID = name, id
	t.ErrorCode = d.b.code("delete topic", err)
	t.ErrorMessage = clientMessage(t.ErrorCode, err)
	d.resp.Topics = append(d.resp.Topics, t)
}

// split sorts what the request names, and answers what names nothing, or too much.
func (d *topicDeletion) split(req *kmsg.DeleteTopicsRequest) (names []string, ids [][16]byte) {
	names = append(names, req.TopicNames...)
	for i := range req.Topics {
		t := &req.Topics[i]
		switch noID := t.TopicID == [16]byte{}; {
		case t.Topic == nil && noID:
			d.answer(nil, t.TopicID, catalog.Refuse(catalog.ErrInvalidRequest, "Neither topic name nor id were specified."))
		case t.Topic == nil:
			ids = append(ids, t.TopicID)
		case noID:
			names = append(names, *t.Topic)
		default:
			d.answer(t.Topic, t.TopicID, catalog.Refuse(catalog.ErrInvalidRequest, "You may not specify both topic name and topic id."))
		}
	}
	return names, ids
}

func (d *topicDeletion) refuseAll(req *kmsg.DeleteTopicsRequest) {
	err := errDeletionDisabled
	if req.Version < deleteTopicsDisabledMin {
		err = catalog.Refuse(catalog.ErrInvalidRequest, "Topic deletion is disabled.")
	}
	d.resp.Topics = nil
	for i := range req.TopicNames {
		d.answer(&req.TopicNames[i], [16]byte{}, err)
	}
	for i := range req.Topics {
		d.answer(req.Topics[i].Topic, req.Topics[i].TopicID, err)
	}
}

func (d *topicDeletion) addIDs(ids [][16]byte) {
	count := make(map[[16]byte]int, len(ids))
	for _, id := range ids {
		if count[id]++; count[id] > 1 {
			continue
		}
		d.ids = append(d.ids, id)
	}
	kept := d.ids[:0]
	for _, id := range d.ids {
		if count[id] > 1 {
			d.answer(nil, id, catalog.Refuse(catalog.ErrInvalidRequest, "Duplicate topic id."))
		} else if t, found := d.b.o.Catalog.TopicByID(id); !found {
			d.answer(nil, id, errNoSuchID)
		} else {
			d.name[id] = t.Name
			kept = append(kept, id)
		}
	}
	d.ids = kept
}

func (d *topicDeletion) addNames(names []string) {
	single, twice := splitDuplicates(names)
	for i := range twice {
		d.answer(&twice[i], [16]byte{}, catalog.Refuse(catalog.ErrInvalidRequest, "Duplicate topic name."))
	}
	for i := range names {
		if !single[names[i]] {
			continue
		}
		t, found := d.b.o.Catalog.Topic(names[i])
		if !found {
			d.answer(&names[i], [16]byte{}, errNoSuchName)
			continue
		}
		if _, twice := d.name[t.ID]; twice {
			delete(d.name, t.ID)
			d.answer(&names[i], t.ID, catalog.Refuse(catalog.ErrInvalidRequest,
				"The provided topic name maps to an ID that was already supplied."))
			continue
		}
		d.name[t.ID] = t.Name
		d.ids = append(d.ids, t.ID)
	}
}
