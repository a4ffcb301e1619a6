package notify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/btree"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/storetest"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

const (
	theIssuer = "https://op.example"
	theSub    = "alice-the-subject"
	theSID    = "the-session-id"
)

// theCA is the tests' own certificate authority.
var theCA = newCA()

type ca struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	leaf tls.Certificate
}

func newCA() *ca {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tests"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	c := &ca{key: newKey(), pool: x509.NewCertPool()}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &c.key.PublicKey, c.key)
	if err == nil {
		c.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		panic(err)
	}
	c.pool.AddCert(c.cert)
	c.leaf = c.issue("localhost", "*.rp.test")
	return c
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

// issue makes a certificate for the names and 127.0.0.1.
func (c *ca) issue(names ...string) tls.Certificate {
	key := newKey()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, &key.PublicKey, c.key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A receiver is a client's back-channel logout endpoint, with a script.
type receiver struct {
	server *httptest.Server
	dial   func(context.Context) (net.Conn, error)
	dials  atomic.Int64

	mu   sync.Mutex
	got  []string // the tokens
	busy map[string]int
	most int // how many requests there were at once
}

// newReceiver starts one over TLS on a port of this machine. Requests end when the test does.
func newReceiver(t testing.TB, script http.HandlerFunc) *receiver {
	r := unstarted(script)
	r.server.TLS = &tls.Config{Certificates: []tls.Certificate{theCA.leaf}}
	r.server.StartTLS()
	t.Cleanup(r.close)
	return r
}

// newPiped starts a receiver without TLS, which is reached by pipes: for tests in virtual time.
func newPiped(t testing.TB, script http.HandlerFunc) *receiver {
	r := unstarted(script)
	_ = r.server.Listener.Close()
	p := &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})}
	r.server.Listener, r.dial = p, p.dial
	r.server.Start()
	t.Cleanup(r.close)
	return r
}

func unstarted(script http.HandlerFunc) *receiver {
	r := &receiver{busy: make(map[string]int)}
	r.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		token := req.PostFormValue("logout_token")
		r.enter(token)
		defer r.leave(token)
		script(w, req)
	}))
	r.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	address := r.server.Listener.Addr().String()
	r.dial = func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", address) }
	return r
}

func (r *receiver) close() {
	r.server.CloseClientConnections()
	r.server.Close()
}

// Pipes are a listener within the process.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.accepted <- server:
		return client, nil
	case <-p.closed:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements [net.Listener].
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accepted:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr implements [net.Listener].
func (*pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (r *receiver) enter(token string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, token)
	r.busy[token]++
	r.most = max(r.most, len(r.busy))
}

func (r *receiver) leave(token string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy[token]--; r.busy[token] == 0 {
		delete(r.busy, token)
	}
}

func (r *receiver) tokens() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// forget forgets the requests so far.
func (r *receiver) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got, r.most = nil, 0
}

func (r *receiver) mostAtOnce() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.most
}

func (r *receiver) port() string {
	_, port, _ := net.SplitHostPort(r.server.Listener.Addr().String())
	return port
}

// answers is a script of one status after the other, the last for ever.
func answers(statuses ...int) http.HandlerFunc {
	var n atomic.Int64
	return func(w http.ResponseWriter, _ *http.Request) {
		i := min(int(n.Add(1)), len(statuses))
		w.WriteHeader(statuses[i-1])
	}
}

// hangs is a script that answers nothing.
func hangs(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// slow is a script that thinks for a while.
func slow(d time.Duration) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(d):
		case <-r.Context().Done():
		}
	}
}

// senderTo returns a sender for which each host is the receiver, by its name without the port; "*"
// is every other.
func senderTo(t testing.TB, hosts map[string]*receiver) *Sender {
	s := NewSender(Guard{}, theCA.pool)
	s.dial = func(ctx context.Context, _, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		r := cmp.Or(hosts[host], hosts["*"])
		if r == nil {
			return nil, &net.DNSError{Err: "no such host", Name: host}
		}
		r.dials.Add(1)
		return r.dial(ctx)
	}
	return s
}

type clock = storetest.Clock

var errStore = errors.New("the disk is full")

// A store is a fake registry, which several workers share.
type store struct {
	clock  *clock
	away   atomic.Bool // Settle fails
	claims atomic.Int64

	mu        sync.Mutex
	owed      map[registry.NoticeID]registry.PendingNotice
	queue     *btree.BTreeG[entry] // of what is owed
	delivered map[registry.NoticeID]int
	dead      map[registry.NoticeID]registry.Outcome
	last      map[registry.NoticeID]registry.Outcome
	batches   []int // how many outcomes each had
}

// An entry is when a notice is due.
type entry struct {
	due registry.Time
	id  registry.NoticeID
}

func (e entry) before(other entry) bool {
	return cmp.Or(cmp.Compare(e.due, other.due), bytes.Compare(e.id[:], other.id[:])) < 0
}

func newStore(c *clock) *store {
	return &store{
		clock: c, queue: btree.NewG(32, entry.before), owed: make(map[registry.NoticeID]registry.PendingNotice), delivered: make(map[registry.NoticeID]int),
		dead: make(map[registry.NoticeID]registry.Outcome), last: make(map[registry.NoticeID]registry.Outcome),
	}
}

// owe adds a notice to a client.
func (s *store) owe(clientID string, created time.Time) registry.PendingNotice {
	var session sessionstate.SessionID
	_, _ = rand.Read(session[:])
	o := registry.PendingNotice{
		Notice: registry.Notice{Until: registry.At(created.Add(registry.NoticeLifetime)), Due: registry.At(created)},
		Issuer: theIssuer, Session: session, Reason: registry.ReasonLogout, ClientID: clientID, Sub: theSub, Sid: theSID,
	}
	s.put(o)
	return o
}

func (s *store) put(o registry.PendingNotice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replace(o.ID(), &o)
}

// replace replaces a notice; nil: it is owed no more. The caller holds the lock.
func (s *store) replace(id registry.NoticeID, o *registry.PendingNotice) {
	s.queue.Delete(entry{s.owed[id].Due, id})
	delete(s.owed, id)
	if o != nil {
		s.owed[id] = *o
		s.queue.ReplaceOrInsert(entry{o.Due, id})
	}
}

func (s *store) count() (owed, delivered, dead int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.owed), len(s.delivered), len(s.dead)
}

func (s *store) notice(id registry.NoticeID) (registry.PendingNotice, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.owed[id]
	return n, ok
}

func (s *store) settlement(id registry.NoticeID) registry.Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last[id]
}

// Claim claims what has been due longest.
func (s *store) Claim(_ context.Context, limit int) (claimed []registry.PendingNotice, none bool, err error) {
	s.claims.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := registry.At(s.clock.Now())
	s.queue.AscendLessThan(entry{due: now + 1}, func(e entry) bool {
		claimed = append(claimed, s.owed[e.id])
		return len(claimed) < limit
	})
	for i := range claimed {
		claimed[i].Due, claimed[i].Lease = now.Add(registry.Lease), uint64(s.claims.Load())
		s.replace(claimed[i].ID(), &claimed[i])
	}
	return claimed, len(claimed) == 0, nil
}

func (s *store) RecordOutcomes(_ context.Context, outcomes []registry.Outcome) error {
	if s.away.Load() {
		return errStore
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches = append(s.batches, len(outcomes))
	for _, one := range outcomes {
		id := one.Notice.ID()
		one.Notice = registry.PendingNotice{} // that it is in the way of comparing is all
		s.last[id] = one
		o, ok := s.owed[id]
		switch {
		case !ok:
		case one.Delivered:
			s.delivered[id]++
			s.replace(id, nil)
		case one.Dead:
			s.dead[id] = one
			s.replace(id, nil)
		default:
			o.Due, o.Attempts = one.Due, one.Attempts
			s.replace(id, &o)
		}
	}
	return nil
}

// A site is Clients, with http://CLIENT.rp.test/bcl?key=... as each one's URI.
type site struct {
	sender   *Sender
	retryFor time.Duration
	route    func(registry.PendingNotice) Route
	noKey    atomic.Bool
	noAlg    atomic.Bool // the client's is one that nobody signs by
	panics   atomic.Bool
	signed   atomic.Int64
}

func (s *site) Route(_ context.Context, o registry.PendingNotice) Route {
	if s.route != nil {
		return s.route(o)
	}
	target := Target{URI: "http://" + o.ClientID + ".rp.test/bcl?key=querysecret", Sender: s.sender, RetryFor: s.retryFor}
	if strings.HasPrefix(o.ClientID, "self") { // each with a domain of its own
		target.URI, target.SelfRegistered = "http://"+o.ClientID+".test/bcl", true
	}
	return Route{Target: target}
}

func (s *site) Token(_ context.Context, o registry.PendingNotice) (string, error) {
	if s.panics.Load() {
		panic("a bug with the secret " + theSub)
	}
	if s.noKey.Load() {
		return "", errors.New("the key is away")
	}
	if s.noAlg.Load() {
		return "", fmt.Errorf("%w: no signing key for HS256", ErrCannotSign)
	}
	return fmt.Sprintf("token.%v.%d", o.ID(), s.signed.Add(1)), nil
}

// noticeOf returns which notice a token is for.
func noticeOf(token string) string { return strings.Split(token, ".")[1] }

// world is a worker with one site.
type world struct {
	*Worker
	*clock
	*store
	site *site
	zap  *zap.Logger
	logs *observer.ObservedLogs
}

// newWorld starts a worker for clients that are these receivers, by client ID; "*" is every other.
func newWorld(t testing.TB, clients map[string]*receiver) *world {
	hosts := make(map[string]*receiver)
	for id, r := range clients {
		if id != "*" {
			id += ".rp.test"
		}
		hosts[id] = r
	}
	core, logs := observer.New(zapcore.DebugLevel)
	w := &world{clock: storetest.NewClock(), logs: logs, zap: zap.New(core)}
	w.store = newStore(w.clock)
	w.Worker = NewWorker(w.store, w.Now)
	w.interval = 20 * time.Millisecond
	w.site = &site{sender: senderTo(t, hosts), retryFor: 24 * time.Hour}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// begin uses the site.
func (w *world) begin() { w.Use(w, w.zap, w.site) }

// eventually waits for a condition, for as long as the slowest machine may need: only a failure
// takes so long.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// settles waits until the store has recorded an attempt of the notice.
func (w *world) settles(t testing.TB, id registry.NoticeID, attempts int) registry.Outcome {
	t.Helper()
	eventually(t, fmt.Sprintf("attempt %d of %v", attempts, id), func() bool { return w.settlement(id).Attempts >= attempts })
	return w.settlement(id)
}

// noSecrets fails the test if the log has what it must not.
func (w *world) noSecrets(t testing.TB) {
	t.Helper()
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "msg"})
	for _, entry := range w.logs.All() {
		line, err := encoder.EncodeEntry(entry.Entry, entry.Context)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{theSub, theSID, "token.", "querysecret", "/bcl"} {
			if strings.Contains(line.String(), secret) {
				t.Errorf("the log has %q: %s", secret, line)
			}
		}
	}
}
