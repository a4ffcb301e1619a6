package e2e

import "testing"

// signIn signs a user in at a relying party, through the login page of the OP, and leaves its page
// open.
func signIn(t *testing.T, page *tab, user string) {
	t.Helper()
	page.click(t, "#sign-in")
	page.click(t, `button[value="`+user+`"]`)
	page.waitFor(t, signedInAs(user))
}

// signInAgain signs a user in whom the OP already knows: no page of the OP is seen.
func signInAgain(t *testing.T, page *tab, user string) {
	t.Helper()
	page.click(t, "#sign-in")
	page.waitFor(t, signedInAs(user))
}

// signedInAs is true on the page of a relying party where a user is signed in.
func signedInAs(user string) string {
	return `document.getElementById('state')?.textContent === 'signed in as ` + user + `'`
}

// replies tells how often the check page said a word to a relying party.
func replies(t *testing.T, page *tab, word string) int {
	t.Helper()
	return eval[map[string]int](t, page, "replies")[word]
}
