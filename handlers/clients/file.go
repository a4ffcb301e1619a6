package clients

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Bounds of the file.
const (
	maxClientsFile = 16 << 20 // bytes
	maxClients     = 100_000
)

// A clientsFile holds the clients of a file, or those of the configuration, by their IDs. The zero
// value has none.
type clientsFile struct {
	Clients                  map[string]Client
	anyNotifiable, anyFramed bool            // by back channel, by front channel
	unknown                  []unknownMember // of their metadata
}

// add adds a client that can be used and is not there yet.
func (f *clientsFile) add(client Client) error {
	if err := client.ValidateConfigured(); err != nil {
		return err
	}
	if _, found := f.Clients[client.ID]; found {
		return fmt.Errorf("%w %q: it is given twice", ErrClient, client.ID)
	}
	f.Clients[client.ID] = client
	f.anyFramed = f.anyFramed || client.FrontChannelLogoutURI != ""
	f.anyNotifiable = f.anyNotifiable || client.BackChannelLogoutURI != ""
	return nil
}

// isSame reports whether a file is the same in two states: neither written nor replaced. A nil one
// is never the same.
func isSame(a, b os.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) &&
		a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// readClientsFile reads a file, and returns which state of it that was: nil if it could not be
// read, so that it is tried again even if no change can be observed (the permission was missing,
// the disk was unavailable).
func readClientsFile(path string) (*clientsFile, os.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() { // opening a named pipe waits for somebody to write
		return nil, nil, errNoFile
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	info, err = file.Stat() // before it is read: what is written meanwhile is read next time
	if err != nil {
		return nil, nil, err
	}
	document, err := io.ReadAll(io.LimitReader(file, maxClientsFile+1))
	if err != nil {
		return nil, nil, err
	}
	if len(document) > maxClientsFile {
		return nil, info, fmt.Errorf("it is larger than %d bytes", maxClientsFile)
	}
	loaded, err := parseClients(document)
	if err != nil {
		return nil, info, err
	}
	return loaded, info, nil
}

var (
	errNoFile    = errors.New("it is not a regular file")
	errNoClients = errors.New("it is neither a JSON array of clients " +
		`nor an object with such an array as "clients"`)
)

// parseClients reads registration metadata: an array of objects, or an object with such an array.
// Members that are not used here are ignored, since there are many; unknown ones are noted.
// One client is read after the other, so that a document of too many costs no more than the bound.
func parseClients(document []byte) (*clientsFile, error) {
	// the syntax of all of it
	if err := json.Unmarshal(document, new(json.RawMessage)); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoClients, placed(document, 0, err))
	}
	decoder := json.NewDecoder(bytes.NewReader(document))
	if err := findClients(decoder); err != nil {
		return nil, err
	}
	loaded := &clientsFile{Clients: make(map[string]Client)}
	for n := 1; decoder.More(); n++ {
		if n > maxClients {
			return nil, fmt.Errorf("it has more than %d clients", maxClients)
		}
		var client Client
		start := decoder.InputOffset()
		if err := decoder.Decode(&client); err != nil {
			return nil, fmt.Errorf("client %d: %w", n, placed(document, start, err))
		}
		if err := loaded.add(client); err != nil {
			return nil, fmt.Errorf("client %d: %w", n, err)
		}
		text := document[start:decoder.InputOffset()]
		loaded.unknown = unknownMembers(loaded.unknown, client.ID, text)
	}
	return loaded, nil
}

// findClients leads a decoder to the first client.
func findClients(decoder *json.Decoder) error {
	begin, err := decoder.Token()
	if err != nil {
		return err
	}
	if begin == json.Delim('[') {
		return nil
	}
	for begin == json.Delim('{') && decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return err
		}
		if name == "clients" {
			begin, err = decoder.Token()
			if err == nil && begin != json.Delim('[') {
				err = errNoClients
			}
			return err
		}
		if err := decoder.Decode(new(json.RawMessage)); err != nil {
			return err
		}
	}
	return errNoClients
}

// placed says in which line of a document an error is, of a decoder that began at an offset. It
// shows nothing of the document.
func placed(document []byte, start int64, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("line %d: %w", line(document, start+syntax.Offset), err)
	case errors.As(err, &kind):
		return fmt.Errorf("line %d: %s must not be of type %s",
			line(document, start+kind.Offset), cmp.Or(kind.Field, "it"), kind.Value)
	}
	return err
}

func line(document []byte, offset int64) int {
	return 1 + bytes.Count(document[:min(offset, int64(len(document)))], []byte("\n"))
}
