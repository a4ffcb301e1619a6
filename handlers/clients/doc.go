// Package clients has the clients of a site: those of the configuration, those of the clients_file,
// and those that have registered themselves.
//
// Start reading at [Clients.Find] (clients.go). client.go says what a client is and which metadata
// can be used; file.go reads the file; shown_name.go has the names of clients on pages.
//
// The package stands on the ground floor of the endpoints and may import the kernel (package
// handlers), and assets.
package clients
