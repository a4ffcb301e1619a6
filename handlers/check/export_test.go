package check

import (
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

// What the tests beside this package use of it.

type Check = check

func (x *check) ClientID() string { return x.clientID }

func (x *check) SessionState() string { return x.sessionState }

func (x *check) Origin() string { return x.origin }

func (x *check) BrowserState() string { return x.browserState }

var ReadCheck = readCheck

const ChecksPerAddress = checksPerAddress

const BurstPerAddress = burstPerAddress

const MaxLimited = maxLimited

func (x *limiter) Now() func() time.Time { return x.now }

func (x *limiter) Addresses() *counts { return &x.addresses }

func (x *limiter) Handles() *counts { return &x.handles }

var NewLimiter = newLimiter

func (x *limiter) Allow(address string, handle string) bool { return x.allow(address, handle) }

func (x *counts) Kept() *simplelru.LRU[uint64, *rate.Limiter] { return x.kept }

func (x counts) Get(key uint64) *rate.Limiter { return x.get(key) }
