// Package handlers is the kernel of the endpoints: what each of their packages may import.
//
//   - [Env] is what the endpoints of one site share: keys, registry, clock, log.
//   - [OP] is what is known of the OpenID Provider; [Provider] discovers it, by a [Refresher] that
//     asks the OP with requests of ours ([OPRequest]) through the site, or at its [OPAddress].
//   - [Paths] gives requests the path that the browser sent; [Endpoints] keeps two configurations
//     apart that are for one OP.
//   - The names of cookies, the paths of endpoints and the checks of configured values that several
//     endpoints share are here, too.
//
// It imports handlers/exchange, the registry, tokens and sessionstate, and none of the packages
// below handlers/ that serve something. Start with op.go, then [Provider.Find].
package handlers
