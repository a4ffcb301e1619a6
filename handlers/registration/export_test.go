package registration

// What the tests beside this package use of it.

var LogoutMembers = logoutMembers
