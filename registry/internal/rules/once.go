package rules

import "github.com/oidc-session/caddy-oidc-session/registry"

// Spend marks a one-time value as used, and reports whether it was not yet.
func Spend(tx Tx, spending registry.Spending) bool {
	if expires, found := tx.Spent(spending.Value); found && spending.Now.Before(expires) {
		return false
	}
	tx.PutSpent(spending.Value, instant(spending.Expires))
	return true
}
