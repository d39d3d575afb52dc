// A Vault for tests: the real core with the engines that the tests use and nothing else, so that it builds in minutes.
// Storage is memory; it starts initialised and unsealed, alone or with others that stand by.
package main

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	log "github.com/hashicorp/go-hclog"
	kubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/audit"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/logical/database"
	"github.com/hashicorp/vault/builtin/logical/pki"
	"github.com/hashicorp/vault/helper/namespace"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/plugins/database/postgresql"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

// The engines by the names that `sys/mounts`, `sys/auth` and `sys/audit` know.
var (
	secrets   = map[string]logical.Factory{"kv": kv.Factory, "database": database.Factory, "pki": pki.Factory}
	methods   = map[string]logical.Factory{"approle": approle.Factory, "kubernetes": kubernetes.Factory}
	audits    = map[string]audit.Factory{"file": audit.NewFileBackend}
	databases = map[string]func() (any, error){"postgresql-database-plugin": postgresql.New}
)

func main() {
	if len(os.Args) != 6 && len(os.Args) != 7 {
		usage := "usage: vault ADDRESS CERTIFICATE-FILE KEY-FILE ROOT-TOKEN-FILE UNSEAL-KEY-FILE [STANDBY-ADDRESS]"
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Args[6:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run serves a core at the address, and beside it others of the same storage, which stand by.
func run(address, certificate, key, tokenFile, unsealFile string, standbys []string) error {
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		return err
	}
	logger := log.New(&log.LoggerOptions{Level: log.Info, Output: os.Stderr})
	storage, err := inmem.NewInmem(nil, logger)
	if len(standbys) > 0 {
		storage, err = inmem.NewInmemHA(nil, logger)
	}
	if err != nil {
		return err
	}
	core, err := newCore(storage, address, logger)
	if err != nil {
		return err
	}
	share, err := open(core, strings.TrimSpace(string(token)), unsealFile)
	if err != nil {
		return err
	}
	ended := make(chan error)
	for _, standby := range standbys {
		other, err := newCore(storage, standby, logger)
		if err != nil {
			return err
		}
		if unsealed, err := other.Unseal(share); err != nil || !unsealed {
			return errors.Join(errors.New("unseal the standby"), err)
		}
		go func() { ended <- serve(other, standby, certificate, key) }()
	}
	go func() { ended <- serve(core, address, certificate, key) }()
	return <-ended
}

func newCore(storage physical.Backend, address string, logger log.Logger) (*vault.Core, error) {
	// Without an address for other nodes a standby cannot pass requests on, and answers with a redirect.
	ha, _ := storage.(physical.HABackend)
	return vault.NewCore(&vault.CoreConfig{
		Physical:           storage,
		HAPhysical:         ha,
		StorageType:        "inmem",
		Logger:             logger.Named(address),
		LogicalBackends:    secrets,
		CredentialBackends: methods,
		AuditBackends:      audits,
		BuiltinRegistry:    registry{},
		DisableMlock:       true,
		RedirectAddr:       "https://" + address,
		DefaultLeaseTTL:    time.Hour,
		MaxLeaseTTL:        24 * time.Hour,
	})
}

func serve(core *vault.Core, address, certificate, key string) error {
	// The handler reads its listener's settings also where there are none.
	properties := &vault.HandlerProperties{Core: core, ListenerConfig: &configutil.Listener{}}
	server := http.Server{
		Addr:      address,
		Handler:   vaulthttp.Handler.Handler(properties),
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	return server.ListenAndServeTLS(certificate, key)
}

// open initialises and unseals the core, replaces its root token by the given one, and gives and writes down the key that
// unseals it.
func open(core *vault.Core, token, unsealFile string) ([]byte, error) {
	ctx := namespace.ContextWithNamespace(context.Background(), namespace.RootNamespace)
	share := &vault.SealConfig{SecretShares: 1, SecretThreshold: 1}
	made, err := core.Initialize(ctx, &vault.InitParams{BarrierConfig: share, RecoveryConfig: share})
	if err != nil {
		return nil, err
	}
	key := made.SecretShares[0]
	if unsealed, err := core.Unseal(key); err != nil || !unsealed {
		return nil, errors.Join(errors.New("unseal"), err)
	}
	if err := os.WriteFile(unsealFile, []byte(hex.EncodeToString(key)), 0o600); err != nil {
		return nil, err
	}
	if err := untilActive(core); err != nil {
		return nil, err
	}
	create := &logical.Request{
		ID:          "root",
		Operation:   logical.UpdateOperation,
		ClientToken: made.RootToken,
		Path:        "auth/token/create",
		Data: map[string]any{
			"id": token, "policies": []string{"root"}, "no_parent": true, "no_default_policy": true,
		},
	}
	if answer, err := core.HandleRequest(ctx, create); err != nil || answer.IsError() {
		return nil, errors.Join(errors.New("create the root token"), err)
	}
	revoke := &logical.Request{
		ID: "revoke", Operation: logical.UpdateOperation, ClientToken: made.RootToken, Path: "auth/token/revoke-self",
	}
	_, err = core.HandleRequest(ctx, revoke)
	return key, err
}

// untilActive waits: where there could be others, a core becomes the active one a moment after it is unsealed.
func untilActive(core *vault.Core) error {
	for start := time.Now(); time.Since(start) < 30*time.Second; time.Sleep(20 * time.Millisecond) {
		if standby, err := core.Standby(); err == nil && !standby {
			return nil
		}
	}
	return errors.New("it does not become active")
}

// registry tells the core which plugins are compiled in.
type registry struct{}

func (registry) Get(name string, kind consts.PluginType) (func() (any, error), bool) {
	switch kind {
	case consts.PluginTypeSecrets:
		factory, found := secrets[name]
		return func() (any, error) { return factory, nil }, found
	case consts.PluginTypeCredential:
		factory, found := methods[name]
		return func() (any, error) { return factory, nil }, found
	case consts.PluginTypeDatabase:
		factory, found := databases[name]
		return factory, found
	default:
		return nil, false
	}
}

func (r registry) Contains(name string, kind consts.PluginType) bool {
	_, found := r.Get(name, kind)
	return found
}

func (registry) Keys(kind consts.PluginType) []string {
	switch kind {
	case consts.PluginTypeSecrets:
		return slices.Collect(maps.Keys(secrets))
	case consts.PluginTypeCredential:
		return slices.Collect(maps.Keys(methods))
	case consts.PluginTypeDatabase:
		return slices.Collect(maps.Keys(databases))
	default:
		return nil
	}
}

func (r registry) DeprecationStatus(name string, kind consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, r.Contains(name, kind)
}

func (registry) IsBuiltinEntPlugin(string, consts.PluginType) bool {
	return false
}
