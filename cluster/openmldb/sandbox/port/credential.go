package port

import "strings"

// Credentials that a server without skip_grant_tables knows: the services' own, and the user root with the password it
// is made with, which is none. A user's is `u`, the name, a colon, and `1` with the SHA-256 of the password.
const (
	serviceCredential = "sdefault"
	rootCredential    = "root:1e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// Admit is what a strict server checks credentials with.
func Admit(credential string) bool {
	user, isUser := strings.CutPrefix(credential, "u")
	return credential == serviceCredential || isUser && user == rootCredential
}
