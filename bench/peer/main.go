// Command daprd is the Go sidecar of Dapr 1.14.0 with its stable components and one more: the name resolver over
// SQLite, which that set leaves out and by which two sidecars find each other without multicast.
package main

import (
	"github.com/dapr/components-contrib/nameresolution/sqlite"
	"github.com/dapr/dapr/cmd/daprd/app"
	"github.com/dapr/dapr/pkg/components/nameresolution"
)

func main() {
	nameresolution.DefaultRegistry.RegisterComponent(sqlite.NewResolver, "sqlite")
	app.Run()
}
