package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/internal/rules"
)

// errDamaged says that a record cannot be what was written.
var errDamaged = errors.New("damaged record")

// castagnoli has instructions of its own on most processors.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal appends a checksum of key and value to the value. Every value in the file, of every version of the format, has one:
// bbolt itself has none for its pages.
func seal(key, value []byte) []byte {
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
	return binary.BigEndian.AppendUint32(value, sum)
}

// unseal returns the value without its checksum.
func unseal(key, sealed []byte) ([]byte, error) {
	end := len(sealed) - 4
	if end < 0 {
		return nil, fmt.Errorf("%w: too short", errDamaged)
	}
	value := sealed[:end:end]
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
	if binary.BigEndian.Uint32(sealed[end:]) != sum {
		return nil, fmt.Errorf("%w: wrong checksum", errDamaged)
	}
	return value, nil
}

// appendTime appends a time as milliseconds since 1970, in an order that is the times' also before it.
func appendTime(b []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixMilli())^(1<<63))
}

// appendText appends a string and its length.
func appendText(b []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(text))), text...)
}

// A decoder reads a value from its start. After an error it reads zeros.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) take(n int) []byte {
	if d.err != nil || len(d.rest) < n {
		d.err = fmt.Errorf("%w: too short", errDamaged)
		return make([]byte, n)
	}
	taken := d.rest[:n]
	d.rest = d.rest[n:]
	return taken
}

func (d *decoder) id() [16]byte { return [16]byte(d.take(16)) }

func (d *decoder) number() int { return int(binary.BigEndian.Uint16(d.take(2))) }

func (d *decoder) text() string { return string(d.take(d.number())) }

func (d *decoder) time() time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(d.take(8)) ^ (1 << 63))).UTC()
}

// end returns the error of everything read, or one if there is more to read.
func (d *decoder) end() error {
	if d.err == nil && len(d.rest) > 0 {
		return fmt.Errorf("%w: too long", errDamaged)
	}
	return d.err
}

func encodeSession(session registry.Session) []byte {
	b := append([]byte(nil), session.Browser[:]...)
	b = appendTime(b, session.Created)
	b = appendTime(b, session.Expires)
	b = append(b, session.Predecessor[:]...)
	b = appendText(b, string(session.Reason)) // empty: not ended
	if session.Reason != "" {
		b = appendTime(b, session.Ended)
		b = append(b, session.Successor[:]...)
	}
	if !session.Limit.Equal(session.Expires) || !session.Forgotten.IsZero() { // left out where it is the same
		b = appendTime(b, session.Limit)
	}
	if !session.Forgotten.IsZero() {
		b = appendTime(b, session.Forgotten)
	}
	return b
}

func decodeSession(value []byte) (session registry.Session, err error) {
	d := decoder{rest: value}
	session.Browser = d.id()
	session.Created = d.time()
	session.Expires = d.time()
	session.Predecessor = d.id()
	session.Reason = registry.Reason(d.text())
	if session.Reason != "" {
		session.Ended = d.time()
		session.Successor = d.id()
	}
	session.Limit = session.Expires
	if len(d.rest) > 0 {
		session.Limit = d.time()
	}
	if len(d.rest) > 0 {
		session.Forgotten = d.time()
	}
	return session, d.end()
}

// encodeParticipation leaves the client ID out: the key has it.
func encodeParticipation(participation registry.Participation) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(participation.Subjects)))
	for _, subject := range participation.Subjects {
		b = appendTime(appendTime(appendText(appendText(b, subject.Sub), subject.Sid), subject.Since), subject.Last)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(participation.Origins)))
	for _, origin := range participation.Origins {
		b = appendText(b, origin)
	}
	return appendIDToken(b, participation.IDToken)
}

// appendIDToken leaves out one that says nothing, as records did that have been written before
// there was any.
func appendIDToken(b []byte, token registry.IDToken) []byte {
	if token == (registry.IDToken{}) {
		return b
	}
	return appendText(appendText(b, token.Issuer), token.Algorithm)
}

// idToken reads what appendIDToken wrote at the end of a value.
func (d *decoder) idToken() registry.IDToken {
	if len(d.rest) == 0 {
		return registry.IDToken{}
	}
	return registry.IDToken{Issuer: d.text(), Algorithm: d.text()}
}

func decodeParticipation(value []byte) (participation registry.Participation, err error) {
	d := decoder{rest: value}
	for range d.number() {
		if d.err != nil {
			break
		}
		participation.Subjects = append(participation.Subjects, registry.Subject{Sub: d.text(), Sid: d.text(), Since: d.time(), Last: d.time()})
	}
	for range d.number() {
		if d.err != nil {
			break
		}
		participation.Origins = append(participation.Origins, d.text())
	}
	participation.IDToken = d.idToken()
	return participation, d.end()
}

func encodeResponse(response rules.Response) []byte {
	b := append([]byte(nil), response.Session[:]...)
	b = appendTime(b, response.Made)
	b = appendTime(b, response.Expires)
	silent := byte(0)
	if response.Silent {
		silent = 1
	}
	return appendText(appendText(append(b, silent), response.ClientID), response.Origin)
}

func decodeResponse(value []byte) (response rules.Response, err error) {
	d := decoder{rest: value}
	response.Session = d.id()
	response.Made = d.time()
	response.Expires = d.time()
	response.Silent = d.take(1)[0] != 0
	response.ClientID = d.text()
	if len(d.rest) > 0 { // not of an earlier version
		response.Origin = d.text()
	}
	return response, d.end()
}

func encodeRebinding(rebinding rules.Rebinding) []byte {
	return appendTime(append([]byte(nil), rebinding.Session[:]...), rebinding.Expires)
}

func decodeRebinding(value []byte) (rebinding rules.Rebinding, err error) {
	d := decoder{rest: value}
	rebinding.Session = d.id()
	rebinding.Expires = d.time()
	return rebinding, d.end()
}
