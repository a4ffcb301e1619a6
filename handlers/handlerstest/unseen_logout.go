package handlerstest

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"time"
)

// Asked requests the endpoint by GET with header fields, and nothing that is not among them.
func (x *Exit) Asked(header http.Header, parameters ...string) *http.Response {
	x.T.Helper()
	r := httptest.NewRequest(http.MethodGet, Issuer+EndSession+"?"+Values(parameters...).Encode(), nil)
	maps.Copy(r.Header, header)
	return x.Once(r)
}

// Fresh is a hint of alice's that expires a minute from now.
func (x *Exit) Fresh(change ...func(map[string]any)) string {
	claims := IDClaims(ClientID, "alice")
	claims["exp"] = x.W.Clock.Now().Add(time.Minute).Unix()
	for _, change := range change {
		change(claims)
	}
	return Sign(x.T, x.Key, claims, nil)
}
