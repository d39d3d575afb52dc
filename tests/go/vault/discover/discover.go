// Package discover stands in for the module of this name, which finds the peers of a cluster by the APIs of twenty
// clouds. One Vault in memory has no peers, and those clients took most of the build.
package discover

import (
	"errors"
	"log"
)

// Config is what an address to find peers by is parsed into.
type Config map[string]string

// String says nothing.
func (Config) String() string { return "" }

// Provider finds addresses at one cloud.
type Provider interface {
	Addrs(args map[string]string, l *log.Logger) ([]string, error)
	Help() string
}

// Providers are those that are known.
var Providers = map[string]Provider{}

// Discover finds addresses.
type Discover struct{}

// Option changes a Discover.
type Option func(*Discover) error

var errNone = errors.New("this Vault has no peers")

// New makes one.
func New(...Option) (*Discover, error) { return &Discover{}, nil }

// WithProviders would add providers.
func WithProviders(map[string]Provider) Option { return nil }

// Addrs finds none.
func (*Discover) Addrs(string, *log.Logger) ([]string, error) { return nil, errNone }

// Parse takes nothing.
func Parse(string) (Config, error) { return nil, errNone }
