package coordinator

import "hash/maphash"

const (
	// bareGroupsMax is how many names of groups with offsets alone a shard remembers.
	bareGroupsMax = 256
	// bareNameBytesMax is the longest name that is remembered.
	bareNameBytesMax = 255
)

// bareGroups remembers groups that are not in memory and of which the cold store has no metadata, so that the next commit of one that
// has nothing but offsets reads no disk. A name is in the one slot it hashes to: a newer one takes the place of an older one. What is
// in it stays true because nothing is written about a group that is not in memory, and one that comes into memory is taken out.
type bareGroups struct{ names [bareGroupsMax]string }

var bareSeed = maphash.MakeSeed()

func (b *bareGroups) slot(id string) *string {
	return &b.names[maphash.String(bareSeed, id)%bareGroupsMax]
}

func (b *bareGroups) add(id string) {
	if len(id) <= bareNameBytesMax {
		*b.slot(id) = id
	}
}

// take says whether the group was remembered, and forgets it.
func (b *bareGroups) take(id string) bool {
	at := b.slot(id)
	if id == "" || *at != id {
		return false
	}
	*at = ""
	return true
}
