package clients

import (
	"sync"
	"sync/atomic"
)

// What the tests beside this package use of it.

const (
	MaxClientURIs   = maxClientURIs
	MaxClientName   = maxClientName
	ClientsFileLook = clientsFileLook
	MaxClientsFile  = maxClientsFile
	MaxClients      = maxClients
)

var ParseClients = parseClients

func (c *Clients) Loaded() *atomic.Pointer[clientsFile] { return &c.loaded }

func (c *Clients) Mu() *sync.Mutex { return &c.mu }
