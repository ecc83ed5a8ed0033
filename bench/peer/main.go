// Command daprd is the Go sidecar of Dapr 1.14.0 with its stable components and one more: the name resolver over
// SQLite, which that set leaves out and by which two sidecars find each other without multicast.
package main

import (
	"context"
	"io"

	"github.com/dapr/components-contrib/nameresolution"
	"github.com/dapr/components-contrib/nameresolution/sqlite"
	"github.com/dapr/dapr/cmd/daprd/app"
	registry "github.com/dapr/dapr/pkg/components/nameresolution"
	"github.com/dapr/kit/logger"
)

// remembered offers the resolver's one address as a list, since the sidecar remembers lists only. Without it every
// invocation would run a SQL query, which the peer's default resolver, multicast with a cache, does not cost it.
type remembered struct {
	nameresolution.Resolver
}

func (r remembered) ResolveIDMulti(
	ctx context.Context, request nameresolution.ResolveRequest,
) (nameresolution.AddressList, error) {
	address, err := r.ResolveID(ctx, request)
	if err != nil {
		return nil, err
	}
	return nameresolution.AddressList{address}, nil
}

// Close lets the resolver take its row back: the sidecar closes what can be closed.
func (r remembered) Close() error {
	if closer, ok := r.Resolver.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

func main() {
	registry.DefaultRegistry.RegisterComponent(func(log logger.Logger) nameresolution.Resolver {
		return remembered{sqlite.NewResolver(log)}
	}, "sqlite")
	app.Run()
}
