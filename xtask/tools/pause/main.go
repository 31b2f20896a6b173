// Command pause is the process that keeps a pod's namespaces alive while its containers come and go.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// Orphans of a shared process namespace end up here; a pod without one has none.
	signal.Ignore(syscall.SIGCHLD)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	<-stop
}
