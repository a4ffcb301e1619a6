package handlers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Bounds of the file.
const (
	maxClientsFile = 16 << 20 // bytes
	maxClients     = 100_000
)

// A clientsFile holds the clients of a file, by their IDs.
type clientsFile struct {
	clients map[string]Client
}

// A fileStamp tells two states of a file apart.
type fileStamp struct {
	modified time.Time
	size     int64
}

func stampOf(path string) (fileStamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return fileStamp{}, err
	}
	return fileStamp{info.ModTime(), info.Size()}, nil
}

// readClientsFile reads a file, and tells which state of it that was.
func readClientsFile(path string) (*clientsFile, fileStamp, error) {
	stamp, err := stampOf(path) // before it is read: what is written meanwhile is read next time
	if err != nil {
		return nil, stamp, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, stamp, err
	}
	defer file.Close()
	document, err := io.ReadAll(io.LimitReader(file, maxClientsFile+1))
	if err != nil {
		return nil, stamp, err
	}
	if len(document) > maxClientsFile {
		return nil, stamp, fmt.Errorf("it is larger than %d bytes", maxClientsFile)
	}
	clients, err := parseClients(document)
	if err != nil {
		return nil, stamp, err
	}
	return &clientsFile{clients}, stamp, nil
}

var errNoClients = errors.New(`it is neither a JSON array of clients nor an object with such an array as "clients"`)

// parseClients reads registration metadata: an array of objects, or an object with such an array. Members that are not used here are
// passed over, since there are many.
func parseClients(document []byte) (map[string]Client, error) {
	var list []Client
	if trimmed := bytes.TrimLeft(document, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '[' {
		if err := json.Unmarshal(document, &list); err != nil {
			return nil, fmt.Errorf("%w: %w", errNoClients, placed(document, err))
		}
	} else {
		var object struct {
			Clients *[]Client `json:"clients"`
		}
		if err := json.Unmarshal(document, &object); err != nil {
			return nil, fmt.Errorf("%w: %w", errNoClients, placed(document, err))
		}
		if object.Clients == nil {
			return nil, errNoClients
		}
		list = *object.Clients
	}
	if len(list) > maxClients {
		return nil, fmt.Errorf("it has more than %d clients", maxClients)
	}
	clients := make(map[string]Client, len(list))
	for i, client := range list {
		if err := client.Validate(); err != nil {
			return nil, fmt.Errorf("client %d: %w", i+1, err)
		}
		if _, given := clients[client.ID]; given {
			return nil, fmt.Errorf("client %d: %w %q: it is given twice", i+1, ErrClient, client.ID)
		}
		clients[client.ID] = client
	}
	return clients, nil
}

// placed says in which line of a document an error is.
func placed(document []byte, err error) error {
	offset := int64(-1)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind):
		return fmt.Errorf("line %d: %s must not be of type %s", line(document, kind.Offset), kind.Field, kind.Value)
	}
	if offset < 0 {
		return err
	}
	return fmt.Errorf("line %d: %w", line(document, offset), err)
}

func line(document []byte, offset int64) int {
	return 1 + bytes.Count(document[:min(offset, int64(len(document)))], []byte("\n"))
}
