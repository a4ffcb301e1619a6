package clients

import (
	"sync"
	"sync/atomic"
)

// What the tests beside this package use of it.

const MaxClientURIs = maxClientURIs

const MaxClientName = maxClientName

const ClientsFileLook = clientsFileLook

func (x *Clients) Loaded() *atomic.Pointer[clientsFile] { return &x.loaded }

func (x *Clients) Mu() *sync.Mutex { return &x.mu }

const MaxClientsFile = maxClientsFile

const MaxClients = maxClients

var ParseClients = parseClients
