package clients

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
)

// maxClientWarnings is how many warnings of one kind a list of clients gets.
const maxClientWarnings = 16

// clientMembers are the members of client metadata that are known: those that are used here, and
// the others of OpenID Connect Dynamic Client Registration 1.0, RFC 7591 and 7592, RFC 8705, 9101,
// 9126, 9396, 9449 and 9701, JARM, CIBA, and the logout specifications.
var clientMembers = strings.Fields(`
	client_id client_name post_logout_redirect_uris backchannel_logout_uri
	backchannel_logout_session_required logout_token frontchannel_logout_uri
	frontchannel_logout_session_required id_token_signed_response_alg insecure_http
	redirect_uris response_types grant_types application_type contacts logo_uri client_uri
	policy_uri tos_uri jwks_uri jwks sector_identifier_uri subject_type
	id_token_encrypted_response_alg id_token_encrypted_response_enc
	userinfo_signed_response_alg userinfo_encrypted_response_alg
	userinfo_encrypted_response_enc request_object_signing_alg request_object_encryption_alg
	request_object_encryption_enc token_endpoint_auth_method token_endpoint_auth_signing_alg
	default_max_age require_auth_time default_acr_values initiate_login_uri request_uris
	client_secret client_id_issued_at client_secret_expires_at registration_access_token
	registration_client_uri scope software_id software_version software_statement
	tls_client_auth_subject_dn tls_client_auth_san_dns tls_client_auth_san_uri
	tls_client_auth_san_ip tls_client_auth_san_email tls_client_certificate_bound_access_tokens
	require_signed_request_object require_pushed_authorization_requests
	authorization_details_types dpop_bound_access_tokens introspection_signed_response_alg
	introspection_encrypted_response_alg introspection_encrypted_response_enc
	authorization_signed_response_alg authorization_encrypted_response_alg
	authorization_encrypted_response_enc backchannel_token_delivery_mode
	backchannel_client_notification_endpoint backchannel_authentication_request_signing_alg
	backchannel_user_code_parameter`)

// An unknownMember is a member of a client's metadata that no specification has.
type unknownMember struct{ name, clientID string }

// unknownMembers adds those of one client to those before, each name once. encoding/json takes
// names in any case, and a name may have a language tag (Dynamic Client Registration 1.0, section
// 2.1).
func unknownMembers(before []unknownMember, id string, client []byte) []unknownMember {
	var members map[string]json.RawMessage
	if json.Unmarshal(bytes.TrimLeft(client, ", \t\r\n"), &members) != nil {
		return before
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		plain, _, _ := strings.Cut(name, "#")
		isKnown := slices.ContainsFunc(clientMembers, func(member string) bool {
			return strings.EqualFold(member, plain)
		}) || slices.ContainsFunc(before, func(m unknownMember) bool { return m.name == name })
		if !isKnown && len(before) < maxClientWarnings && len(name) <= maxClientName {
			before = append(before, unknownMember{name, id})
		}
	}
	return before
}

// warn warns of what is probably not meant in clients that can be used: unknown members of the
// file, and registered addresses that look like patterns. These are compared byte for byte
// (RP-Initiated Logout 1.0, section 3).
func (c *Clients) warn(loaded *clientsFile) {
	for _, member := range loaded.unknown {
		nearest, advice := zap.Skip(), "remove it, if it has no meaning for the OP either"
		if meant := handlers.Nearest(member.name, clientMembers); meant != "" {
			nearest, advice = zap.String("nearest", meant), "write "+meant+", if that is meant"
		}
		c.env.Logger.Warn("clients_file has an unknown member, which is ignored",
			zap.String("path", c.File), zap.String("member", member.name),
			zap.String("client_id", member.clientID), nearest, zap.String("advice", advice))
	}
	warnings := 0
	for _, id := range slices.Sorted(maps.Keys(loaded.Clients)) {
		for _, option := range loaded.Clients[id].patterns() {
			if warnings++; warnings > maxClientWarnings {
				return
			}
			c.env.Logger.Warn("registered address has a *, which stands for itself",
				zap.String("client_id", id), zap.String("option", option),
				zap.String("advice", "register each address in full: there are no patterns"))
		}
	}
}

// patterns returns the options with an address that has a *.
func (c Client) patterns() (options []string) {
	for _, addresses := range []struct{ option, text string }{
		{"post_logout_redirect_uri", strings.Join(c.PostLogoutRedirectURIs, " ")},
		{"backchannel_logout_uri", c.BackChannelLogoutURI},
		{"frontchannel_logout_uri", c.FrontChannelLogoutURI},
	} {
		if strings.Contains(addresses.text, "*") {
			options = append(options, addresses.option)
		}
	}
	return options
}
