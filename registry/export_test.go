package registry

// ClientsKey is the set of an issuer's clients that took part in nothing yet ("idle"), or did
// ("used").
func ClientsKey(issuer, which string) Key { return clientsKey(issuer, which) }
