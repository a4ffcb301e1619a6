package registration

// What the tests beside this package use of it.

// LogoutMembers is logoutMembers.
var LogoutMembers = logoutMembers
