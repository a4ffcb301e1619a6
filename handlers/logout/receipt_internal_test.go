package logout

import (
	"testing"
)

func TestAnAddressIsLoadedOnce(t *testing.T) {
	r := new(receipt)
	for _, id := range []string{"a", "b", "a"} { // "a" takes part in two sessions, and its ID tokens have no sid
		r.addFrames(r.client(id, ""), []string{"https://" + id + ".example/"})
	}
	if len(r.frames) != 2 || len(r.clients) != 2 || r.clients[0].frames == 0 || r.clients[0].cut {
		t.Errorf("the frames are %q of %+v", r.frames, r.clients)
	}
}
